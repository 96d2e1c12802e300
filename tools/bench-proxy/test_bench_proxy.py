"""Tests of the benches' pure parts: reading of counters, rooms of samples, tables and what must hold.

    python3 tools/bench-proxy/test_bench_proxy.py
"""

import json
import pathlib
import sys
import tempfile
import types
import unittest

import inside
import proxies
import proxy_plan
import proxy_tables
import rooms
import soak
import started

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "bench-chain"))
import chain_tables


def spread(median):
    return {"median": median, "min": median - 1, "max": median + 1}


def cell(server, case, us, p50=100.0, p99=200.0, failed=0):
    return {
        "server": server, "case": case, "requests": 1000, "failed": failed, "cpu_us": spread(us), "p50_us": spread(p50),
        "p99_us": spread(p99), "per_s": spread(10_000.0), "disturbed": spread(1.25), "failures": ["reset: gone"] * failed,
        "cpu_us_by_process": {"gateway": spread(us / 2), "backend": spread(us / 2), "origin": spread(5.0)},
    }


def past(through, p50, p99, added_p50, added_p99):
    """A cell with calls past the server beside it."""
    taken = {"p50_us": p50, "p99_us": p99, "added_p50_us": added_p50, "added_p99_us": added_p99}
    return through | {"past": {what: spread(us) for what, us in taken.items()}}


def figures(titles, cells, inside=None, left_out=()):
    """What a run would have left, read again."""
    machine = {"processor": "a processor", "cores": 1, "system": "a system"}
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder)
        run = {"machine": machine, "settings": {"rounds": "1"}, "serving": {"cells": cells, "left_out": list(left_out)}}
        (out / "serving.json").write_text(json.dumps(run))
        (out / "inside.json").write_text(json.dumps(inside or {}))
        (out / "cores.json").write_text(json.dumps(proxies.cores({0, 1})))
        return proxy_tables.Figures(out, titles)


def judged(fill):
    """Each must by its words, and whether must and goal are met."""
    found = {}
    fill(lambda what, came, must, goal, met, reached: found.update({what: (came, met, reached)}))
    return found


class Ratios(unittest.TestCase):
    def test_ours_is_held_against_the_cheaper_peer(self):
        seen = figures(proxy_tables.TITLES, [
            cell("headgate", "x64", 12.0), cell("haproxy", "x64", 20.0), cell("nginx", "x64", 16.0), cell("envoy", "x64", 50.0),
        ])
        found = judged(lambda must: proxy_tables.musts(seen, must))
        self.assertEqual(found["x64: our CPU / nginx"], ("0.75 x", True, False))
        self.assertEqual(found["x64: our CPU / Envoy"], ("0.24 x", True, True))
        self.assertEqual(len(found), 2)

    def test_what_is_added_is_less_what_the_origin_takes(self):
        seen = figures(proxy_tables.TITLES, [
            past(cell("headgate", "half load", 12.0, p50=120.0, p99=600.0), 70.0, 250.0, 50.0, 350.0),
        ])
        found = judged(lambda must: proxy_tables.musts(seen, must))
        self.assertEqual(found["half load: added p50"][:2], ("50 us", True))
        self.assertEqual(found["half load: added p99"][:2], ("350 us", False))

    def test_an_idle_connection_must_be_small_where_it_was_measured(self):
        for memory, met in ((12_000.0, True), (34_000.0, False)):
            seen = figures(proxy_tables.TITLES, [cell("headgate", "x64", 1.0)], {"headgate": {"idle_connection_bytes": memory}})
            self.assertIs(judged(lambda must: proxy_tables.musts(seen, must))["an idle client's connection"][1], met)
        seen = figures(proxy_tables.TITLES, [], {"headgate": {"idle_connection_bytes": {"left_out": "refused"}}})
        self.assertEqual(judged(lambda must: proxy_tables.musts(seen, must)), {})

    def test_the_chain_is_held_against_forwarding_and_gunicorn(self):
        seen = figures(chain_tables.TITLES, [
            cell("headgate", "x64", 30.0), cell("haproxy", "x64", 20.0), cell("envoy", "x64", 60.0),
            cell("nginx-gunicorn", "x64", 840.0),
        ])
        found = judged(lambda must: chain_tables.musts(seen, must))
        self.assertEqual(found["x64: our CPU / HAProxy, forwarding alone"], ("1.50 x", True, False))
        self.assertEqual(found["x64: our CPU / Envoy, forwarding alone"], ("0.50 x", True, False))
        self.assertEqual(found["x64: nginx + gunicorn's CPU / ours"][:2], ("28.0 x", False))


class Tables(unittest.TestCase):
    def test_how_the_origin_was_spoken_to_is_what_the_origin_saw(self):
        seen = figures(proxy_tables.TITLES, [cell("headgate", "x64", 20.0)])
        self.assertIn("Headgate too, speak HTTP/1.1", proxy_tables.behind(seen))
        seen.linked = ["headgate"]
        self.assertIn("speaks its link", proxy_tables.behind(seen))

    def test_cells_say_ratio_spread_and_how_busy_the_core_was(self):
        seen = figures(proxy_tables.TITLES, [cell("headgate", "x64", 20.0), cell("nginx", "x64", 40.0)])
        text = proxy_tables.cpu_table(seen, ["x64", "x256"])
        self.assertIn("20.0 [19.0-21.0] 20%", text)
        self.assertIn("40.0 (2.00 x) [39.0-41.0] 40%", text)
        self.assertNotIn("Envoy", text)

    def test_parts_are_those_of_headgate(self):
        seen = figures(chain_tables.TITLES, [cell("headgate", "x64", 20.0), cell("haproxy", "x64", 9.0)])
        self.assertIn("10.0", chain_tables.parts_table(seen))
        self.assertEqual(chain_tables.parts_table(figures(chain_tables.TITLES, [])), "")

    def test_what_the_machine_disturbed_is_told(self):
        seen = figures(proxy_tables.TITLES, [past(cell("headgate", "half load", 20.0), 60.0, 120.0, 41.0, 75.0)])
        text = " ".join(proxy_tables.paced_table(seen).split())
        self.assertIn("| 100 / 200 | 60 / 120 | 41 / 75 | 40-42 / 74-76 | 10,000 | 20% | 125% |", text)
        self.assertNotIn("quarter", text)
        self.assertIn("left out", proxy_tables.undisturbed(seen))
        self.assertEqual(proxy_tables.undisturbed(figures(proxy_tables.TITLES, [])), "")

    def test_what_failed_or_was_left_out_is_named(self):
        seen = figures(
            proxy_tables.TITLES, [cell("nginx", "x64", 1.0, failed=2)],
            {"envoy": {"allocated": {"left_out": "its own allocator"}}, "nginx": {"left_out": "ended"}},
            [{"server": "haproxy", "case": None, "why": "long\nnot installed"}],
        )
        self.assertEqual(proxy_tables.failures(seen).splitlines(), [
            "- nginx, x64: 2 of 1000 requests failed: reset: gone", "- left out: haproxy: not installed",
            "- left out: envoy, allocated: its own allocator", "- left out: nginx, all of it: ended",
        ])

    def test_what_was_not_looked_at_has_a_dash(self):
        calls = {"by": "perf", "all": 4.14, "send": 2.0, "receive": 2.0, "wait": 0.1}
        seen = figures(proxy_tables.TITLES, [cell("headgate", "x64", 1.0)], {"headgate": {"calls": calls, "allocated": {"left_out": "x"}}})
        row = proxy_tables.inside_table(seen).splitlines()[-1]
        self.assertEqual([part.strip() for part in row.strip("|").split("|")][1:], ["4.14", "2.00 + 2.00 + 0.10", "-", "-", "-"])


class Counters(unittest.TestCase):
    def test_perf_s_counters_become_calls_a_request(self):
        text = "# started\n\n4000,,raw_syscalls:sys_enter,1,100.00,,\n1500,,syscalls:sys_enter_sendto,1,100.00,,\n" \
            "500,,syscalls:sys_enter_writev,1,100.00,,\n<not counted>,,syscalls:sys_enter_read,0,0.00,,\n"
        self.assertEqual(inside.read_perf(text, 1000), {"all": 4.0, "send": 2.0, "receive": 0.0, "wait": 0.0})
        self.assertIsNone(inside.read_perf("Error: access", 1000))

    def test_strace_s_table_says_the_same(self):
        text = "% time     seconds  usecs/call     calls    errors syscall\n------ ----------- ----------- --------- --------- ---\n" \
            " 60.00    0.010000           5      2000           writev\n 40.00    0.000100           1      1000        10 recvfrom\n" \
            "------ ----------- ----------- --------- --------- ---\n100.00    0.010100           3      3000        10 total\n"
        self.assertEqual(inside.read_strace(text, 1000), {"all": 3.0, "send": 2.0, "receive": 1.0, "wait": 0.0})
        self.assertIsNone(inside.read_strace("", 1))

    def test_a_session_is_read_past_any_name(self):
        self.assertEqual(started.session_of("7 (a) b) S 1 5 5 0 -1"), (7, 5))

    def test_growth_leaves_the_warm_up_out(self):
        found = soak.growth([(50, 100), (100, 1000), (500, 1200), (1000, 1450)])
        self.assertEqual(found, {"from": 100, "to": 1000, "grown_bytes": 450, "each_bytes": 0.5})


class Rooms(unittest.TestCase):
    def test_samples_fall_into_rooms(self):
        kernel, program = "[kernel.kallsyms]", "/opt/headgate"
        cases = [
            ("kernel: send", [("tcp_sendmsg", kernel), ("do_writev", kernel), ("do_syscall_64", kernel)]),
            ("kernel: delivery within send", [("tcp_ack", kernel), ("tcp_v4_rcv", kernel), ("__x64_sys_sendto", kernel)]),
            ("kernel: receive", [("tcp_recvmsg", kernel), ("__x64_sys_recvfrom", kernel)]),
            ("kernel: page faults", [("clear_page", kernel), ("asm_exc_page_fault", kernel)]),
            ("kernel: interrupts, scheduling", [("tcp_v4_rcv", kernel), ("handle_softirqs", kernel)]),
            ("hyper, http", [("core::ptr::drop_in_place<hyper::proto::Conn>::h1", program), ("x", program)]),
            ("tokio", [("<tokio::net::TcpStream as core::fmt::Debug>::fmt", program)]),
            ("headgate_gateway", [("_$LT$headgate_gateway..edge..Call$u20$as$u20$core..future::poll", program)]),
            ("standard library", [("core::str::from_utf8", program)]),
            ("allocator", [("_int_malloc", "/lib/libc.so.6")]),
            ("copying", [("__memcpy_avx_unaligned", "/lib/libc.so.6")]),
            ("clock", [("__vdso_clock_gettime", "[vdso]")]),
            ("other", [("[unknown]", program)]),
        ]
        for room, frames in cases:
            self.assertEqual(rooms.room_of(frames), room, frames)

    def test_shares_are_by_weight_and_process(self):
        text = " 7          30 \n\t  55aa hyper::x (/opt/headgate)\n\t  55ab [unknown] ([unknown])\n\n" \
            " 7          10 \n\tffff do_writev ([kernel.kallsyms])\n\n 8 5 \n\t 1 tokio::y (/opt/headgate)\n"
        found, symbols = rooms.shares(text)
        self.assertEqual(found, {7: {"hyper, http": 0.75, "kernel: send": 0.25}, 8: {"tokio": 1.0}})
        self.assertEqual(symbols[8], {"tokio::y": 1.0})
        text = rooms.rooms_table("gateway", {"cpu_us": 40.0, "rooms": {"a": 0.75, "b": 0.249, "c": 0.001}})
        self.assertIn("30.00", text)
        self.assertNotIn("| c ", text)


class Plans(unittest.TestCase):
    def test_what_is_measured_has_a_core_of_its_own(self):
        self.assertEqual(proxies.cores({0, 1}), {"count": 2, "measured": 1, "origin": 0, "driver": 0})
        self.assertEqual(proxies.cores({2, 5, 7, 9}), {"count": 4, "measured": 9, "origin": 5, "driver": 2})
        self.assertIsNone(proxies.cores({3})["measured"])
        process = {"name": "n", "program": "p", "arguments": ["a"], "environment": {}}
        self.assertEqual(proxies.pinned(process, 1)["arguments"], ["-c", "1", "p", "a"])
        self.assertEqual(proxies.pinned(process, None), process)

    def test_what_is_first_and_who_watches_is_told_to_the_system(self):
        may = proxies.chrt
        self.addCleanup(setattr, proxies, "chrt", may)
        process = {"name": "n", "program": "p", "arguments": ["a"], "environment": {}}
        proxies.chrt = lambda: None
        self.assertEqual(proxies.first(process, 1), process)
        self.assertEqual(proxies.watchers(None), [])
        proxies.chrt = lambda: "/bin/chrt"
        self.assertEqual(proxies.first(process, 1)["arguments"], ["-f", "1", "p", "a"])
        home = types.SimpleNamespace(loadtests="loadtests", cores=proxies.cores({0, 1}))
        self.assertEqual([watch["name"] for watch in proxies.watchers(home)], ["stalls-0", "stalls-1"])
        home.cores = proxies.cores({3})
        self.assertEqual(proxies.watchers(home), [])

    def test_the_call_has_its_size_and_is_json(self):
        body = proxy_plan.body()
        self.assertEqual(len(body), proxy_plan.BODY_BYTES)
        self.assertGreater(len(json.loads(body)["instances"][0]), 50)


if __name__ == "__main__":
    unittest.main()
