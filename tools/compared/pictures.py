"""Pictures of phones back over time: all servers of a load in one, as SVG that loads nothing."""

import html

WIDTH, HEIGHT, LEFT, TOP, LINE = 720, 300, 64, 34, 18
# Apart for colour-blind eyes too; ours is the first.
COLOURS = ["#16794c", "#d55e00", "#0072b2", "#cc79a7", "#e69f00", "#56b4e9", "#777777"]
# A server that takes much longer than Ringpost leaves the picture on the right.
LONGEST = 3.0


def curves(load):
    """The servers whose phones came back, each with its middle run."""
    found = []
    for server, one in load["servers"].items():
        runs = [run for run in (one or {}).get("runs", []) if run.get("series")]
        if runs:
            runs.sort(key=lambda run: run["phone_seconds"])
            found.append((server, runs[len(runs) // 2]))
    return found


def back_over_time(load):
    """The picture, or None for a load that has no phones to come back."""
    found = curves(load)
    if not found:
        return None
    ends = [run["series"][-1][0] for _, run in found]
    end = min(max(ends), max(ends[0] * LONGEST, 1e-3))
    most = max(run["phones"] for _, run in found)
    height = TOP + HEIGHT + 40 + LINE * len(found)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH + LEFT + 30} {height}" '
           f'width="{WIDTH + LEFT + 30}" height="{height}" font-family="system-ui,sans-serif" '
           f'font-size="13"><rect width="100%" height="100%" fill="#fff"/>'
           f'<text x="{LEFT}" y="20" font-weight="bold">Phones back over time: '
           f'{html.escape(load["what"])}</text>']
    for tick in range(5):
        share = tick / 4
        x, y = LEFT + share * WIDTH, TOP + (1 - share) * HEIGHT
        out.append(
            f'<path d="M{LEFT} {y:.1f}H{LEFT + WIDTH}" stroke="#ddd"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{most * share:,.0f}</text>'
            f'<text x="{x:.1f}" y="{TOP + HEIGHT + 20}" text-anchor="middle">'
            f'{end * share:.1f} s</text>')
    for place, (server, run) in enumerate(found):
        colour = COLOURS[place % len(COLOURS)]
        out.append(line(run["series"], end, most, colour, 3 if place == 0 else 1.8))
        y = TOP + HEIGHT + 40 + LINE * place
        out.append(f'<rect x="{LEFT}" y="{y}" width="12" height="12" fill="{colour}"/>'
                   f'<text x="{LEFT + 20}" y="{y + 11}">{html.escape(legend(server, run))}</text>')
    return "".join(out) + "</svg>\n"


def line(series, end, most, colour, width):
    """A step for each point, cut where the picture ends."""
    points, count = [(0.0, 0)], 0
    for at, back in series:
        if at > end:
            break
        points += [(at, count), (at, back)]
        count = back
    points.append((end, count))
    text = " ".join(f"{LEFT + at / end * WIDTH:.1f},{TOP + (1 - back / most) * HEIGHT:.1f}"
                    for at, back in points)
    return f'<polyline fill="none" stroke="{colour}" stroke-width="{width}" points="{text}"/>'


def legend(server, run):
    middle = "never" if run["back_p50_s"] == float("inf") else f"after {run['back_p50_s']:.2f} s"
    last = "not all" if run["back_max_s"] == float("inf") else f"all after {run['back_max_s']:.2f} s"
    return f"{server}: half {middle}, {last}, {run['phone_seconds']:,.0f} phone-seconds"


def merged(reports):
    """The `back` of several reports of ringstorm as one: their phones, counted together."""
    series = []
    for report in reports:
        before = 0
        for at, count in report["series"]:
            series.append((at, count - before))
            before = count
    back, points = 0, []
    for at, more in sorted(series):
        back += more
        points.append([at, back])
    total = {key: sum(report[key] for report in reports)
             for key in ("phones", "back", "lost", "phone_seconds")}
    resends = sum(report["resends_per_phone"] * report["phones"] for report in reports)
    shares = {}
    for percent in (10, 25, 50, 75, 90, 99, 100):
        wanted = -(-total["phones"] * percent // 100)
        shares[f"p{percent}_s"] = next((at for at, count in points if count >= wanted), None)
    return {**total, **shares, "series": points,
            "resends_per_phone": resends / max(total["phones"], 1)}


def figures(back):
    """The figures of a report that columns and pictures are made of."""
    at = lambda key: float("inf") if back[key] is None else back[key]
    return {
        "phone_seconds": back["phone_seconds"], "back_p50_s": at("p50_s"),
        "back_p90_s": at("p90_s"), "back_p99_s": at("p99_s"), "back_max_s": at("p100_s"),
        "back_lost": back["lost"], "resends_per_phone": back["resends_per_phone"],
        "series": back["series"],
    }
