"""The gateway serves files, in parts too, and records each request."""

import contextlib


async def ask(room, *arguments):
    result = await room.engine.tool("curl", "-s", "-i", *arguments)
    head, _, body = result.stdout.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    return int(lines[0].split()[1]), headers, body


URL = "http://mirror.airlock.internal"


async def test_whole_files_and_ranges_are_served_and_recorded(open_room, www):
    content = bytes(range(256)) * 4096
    (www / "big").write_bytes(content)
    async with open_room() as room:
        room.image = "base"
        assert (await ask(room, f"{URL}/big"))[2] == content
        status, headers, body = await ask(room, "-r", "1000-1999", f"{URL}/big")
        assert (status, body) == (206, content[1000:2000])
        assert headers["content-range"] == f"bytes 1000-1999/{len(content)}"
        assert (await ask(room, "-r", "-5", "-6", f"{URL}/big"))[2] == content[-5:]
        status, headers, _ = await ask(room, "-I", f"{URL}/big")
        assert (status, headers["content-length"]) == (200, str(len(content)))
        assert headers["last-modified"] == "tue, 14 nov 2023 22:13:20 gmt"
        assert "server" not in headers
        room.image = "keystone"
        assert (await ask(room, "-r", f"{len(content)}-", f"{URL}/big"))[0] == 416
        report = room.report()
    served = [(s.method, s.path, s.status, s.bytes, s.sha256, s.image) for s in report.served]
    assert served == [
        ("GET", "/big", 200, len(content), "ab" * 32, "base"),
        ("GET", "/big", 206, 1000, "ab" * 32, "base"),
        ("GET", "/big", 206, 5, "ab" * 32, "base"),
        ("HEAD", "/big", 200, 0, "ab" * 32, "base"),
    ]
    assert [(s.status, s.image) for s in report.missing] == [(416, "keystone")]


async def test_what_is_not_there_or_not_ours_is_refused_and_recorded(open_room, www, tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    async with open_room() as room:
        assert (await ask(room, f"{URL}/absent"))[0] == 404
        assert (await ask(room, "-H", "Host: example.org", f"{URL}/x"))[0] == 421
        assert (await ask(room, "--data", "x", f"{URL}/x"))[0] == 405
        for path in ("/../secret", "/%2e%2e/secret", "/a/..%2f../secret"):
            status, _, body = await ask(room, "--path-as-is", f"{URL}{path}")
            assert status in (400, 404)
            assert b"secret" not in body
        report = room.report()
    assert report.served == ()
    assert [(s.status, s.host) for s in report.missing][:3] == [(404, ""), (421, "example.org"), (405, "")]
    assert len(report.missing) == 6


async def test_a_transfer_that_is_broken_off_is_not_recorded_as_served(open_room, www):
    with (www / "huge").open("wb") as stream:
        stream.truncate(1 << 30)
    async with open_room() as room:
        with contextlib.suppress(TimeoutError):
            await room.engine.tool("curl", "-s", "--limit-rate", "1k", f"{URL}/huge", timeout=1)
        assert (await ask(room, f"{URL}/absent"))[0] == 404
        report = room.report()
    assert report.served == ()
    assert {(s.path, s.status, s.bytes) for s in report.missing} == {("/huge", 499, 0), ("/absent", 404, 18)}
