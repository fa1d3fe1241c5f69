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
