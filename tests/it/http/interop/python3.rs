//! Python's `http.client`, `ssl` and `urllib`.

use crate::interop::{give, has, succeed};
use crate::server::Server;
/// Runs a Python program that may use `PORT`, `TLSPORT` and the CA in `ca`.
fn python(server: &Server, program: &str) {
    let start = "import http.client, os, socket, ssl, urllib.request, urllib.error\n\
                 ca = '../certs/ca.pem'\n";
    let program = format!("{start}{program}")
        .replace("TLSPORT", &server.tls_address().port().to_string())
        .replace("PORT", &server.address().port().to_string());
    give(server, "program.py", program.as_bytes());
    succeed(server, "python3 program.py");
}

#[test]
fn keeps_a_connection_for_everything() {
    if !has("python3") {
        return;
    }
    let server = Server::start_web("");
    server.put("a.txt", b"hello");
    python(
        &server,
        "c = http.client.HTTPConnection('127.0.0.1', PORT, timeout=20)\n\
         c.connect(); s = c.sock\n\
         def ask(method, path, body=None, headers={}, chunked=False):\n\
         \x20   c.request(method, path, body, headers, encode_chunked=chunked)\n\
         \x20   r = c.getresponse(); b = r.read()\n\
         \x20   assert c.sock is s, 'the connection was closed after ' + path\n\
         \x20   return r.status, b, r\n\
         for n in range(200):\n\
         \x20   assert ask('GET', '/a.txt')[:2] == (200, b'hello')\n\
         assert ask('HEAD', '/a.txt')[2].getheader('Content-Length') == '5'\n\
         assert ask('GET', '/no.txt')[0] == 404\n\
         assert ask('PUT', '/b.up', b'x' * 100000)[0] == 201\n\
         parts = (b'y' * 1000 for n in range(50))\n\
         chunked = {'Transfer-Encoding': 'chunked'}\n\
         assert ask('PUT', '/b.up', parts, chunked, True)[0] == 204\n\
         assert ask('GET', '/a.txt', headers={'Range': 'bytes=1-3'})[:2] == (206, b'ell')\n\
         assert ask('OPTIONS', '*')[0] == 204\n\
         tag = ask('GET', '/a.txt')[2].getheader('ETag')\n\
         assert ask('GET', '/a.txt', headers={'If-None-Match': tag})[:2] == (304, b'')\n\
         assert ask('DELETE', '/a.txt')[0] == 405\n",
    );
    assert_eq!(server.uploaded("b.up").unwrap(), vec![b'y'; 50_000]);
}

#[test]
fn verifies_the_certificate_by_address_and_resumes() {
    if !has("python3") {
        return;
    }
    let server = Server::start_web("");
    server.put("a.txt", b"hello");
    python(
        &server,
        "for v in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):\n\
         \x20   x = ssl.create_default_context(cafile=ca)\n\
         \x20   x.minimum_version = x.maximum_version = v\n\
         \x20   u = urllib.request.urlopen('https://127.0.0.1:TLSPORT/a.txt', context=x)\n\
         \x20   assert u.read() == b'hello'\n\
         \x20   kept, reused = None, []\n\
         \x20   for n in range(3):\n\
         \x20       p = socket.create_connection(('127.0.0.1', TLSPORT), timeout=20)\n\
         \x20       t = x.wrap_socket(p, server_hostname='127.0.0.1', session=kept)\n\
         \x20       t.sendall(b'GET /a.txt HTTP/1.0\\r\\n\\r\\n')\n\
         \x20       b = b''\n\
         \x20       while d := t.recv(4096): b += d\n\
         \x20       assert b.endswith(b'hello'), b\n\
         \x20       reused.append(t.session_reused); kept = t.session\n\
         \x20   assert reused == [False, True, True], (v, reused)\n",
    );
}

#[test]
fn is_told_what_is_wrong_by_its_status() {
    if !has("python3") {
        return;
    }
    let server = Server::start_web("");
    server.put("a.txt", b"hello");
    python(
        &server,
        "for path, method, code in (('no.txt', 'GET', 404), ('a.txt', 'POST', 405),\n\
         \x20       ('a.txt', 'PATCH', 501), ('../a.txt', 'GET', 400), ('x.y', 'PUT', 403)):\n\
         \x20   r = urllib.request.Request('http://127.0.0.1:PORT/' + path, b'1', method=method)\n\
         \x20   try:\n\
         \x20       urllib.request.urlopen(r); assert False, path\n\
         \x20   except urllib.error.HTTPError as e:\n\
         \x20       assert e.code == code, (path, method, e.code)\n",
    );
}

#[test]
fn reads_why_its_upload_was_refused_after_it_has_sent_all_of_it() {
    if !has("python3") {
        return;
    }
    let server = Server::start_web("");
    python(
        &server,
        r"
x = ssl.create_default_context(cafile=ca)
body = b'z' * (30 << 20)
head = b'PUT /forbidden.exe HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n' % len(body)
for port in (PORT, TLSPORT):
    s = socket.create_connection(('127.0.0.1', port), 20)
    if port == TLSPORT: s = x.wrap_socket(s, server_hostname='127.0.0.1')
    s.sendall(head + body)
    assert s.recv(4096).startswith(b'HTTP/1.1 403 '), port
",
    );
}

/// A client that begins an upload over TLS and dies.
const DIES: &str = r"
import os, socket, ssl, struct, sys
port, way, name = sys.argv[1:]
x = ssl.create_default_context(cafile='../certs/ca.pem')
s = socket.create_connection(('127.0.0.1', int(port)), 20)
t = x.wrap_socket(s, server_hostname='127.0.0.1')
length, body = 'Content-Length: 9', b'half'
if way == 'chunks': length, body = 'Transfer-Encoding: chunked', b'4\r\nhalf\r\n'
# A reset throws away what the server has not read, so its leave is waited for.
head = 'PUT /%s HTTP/1.1\r\nHost: x\r\n%s\r\nExpect: 100-continue\r\n\r\n' % (name, length)
t.sendall(head.encode())
assert b'100' in t.recv(100)
t.sendall(body)
if way == 'notify': t.unwrap()
if way == 'fin': socket.socket(fileno=t.detach()).shutdown(socket.SHUT_RDWR)
if way == 'reset': t.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
os.kill(os.getpid(), 9)
";

#[test]
fn leaves_the_old_version_however_it_dies_in_the_middle_of_an_upload_over_tls() {
    if !has("python3") {
        return;
    }
    let server = Server::start_web("");
    give(&server, "dies.py", DIES.as_bytes());
    python(
        &server,
        r"
import subprocess, sys, time
x = ssl.create_default_context(cafile=ca)
def ask(method, path, body=None):
    c = http.client.HTTPSConnection('127.0.0.1', TLSPORT, timeout=20, context=x)
    c.request(method, path, body)
    r = c.getresponse()
    return r.status, r.read()
# Fewer than the lines that the log gives one address in a while.
for n, way in enumerate(('kill', 'fin', 'reset', 'chunks', 'notify')):
    for name in ('%s.up' % way, '%d_96xxdata.txt' % (4000 + n))[:1 + (n in (0, 3))]:
        assert ask('PUT', '/' + name, b'good')[0] == 201
        client = [sys.executable, 'dies.py', str(TLSPORT), way, name]
        dead = subprocess.Popen(client)
        end = time.time() + 20
        while not any(name in line and 'aborted' in line for line in open('../log')):
            assert time.time() < end, way
            time.sleep(0.01)
        dead.kill()
        dead.wait()
        if name.endswith('.up'): assert open('../uploads/' + name).read() == 'good'
        else: assert ask('GET', '/' + name) == (200, b'good')
",
    );
}
