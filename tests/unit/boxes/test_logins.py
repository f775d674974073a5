"""Passwords are drawn once, differ, and are for their owner alone."""

from __future__ import annotations

from boxes.logins import draw_login


def test_a_login_is_drawn_once(tmp_path):
    first = draw_login(tmp_path / "secrets", "zuul", key=True)
    password, public = first.password, first.public_key
    again = draw_login(tmp_path / "secrets", "zuul", key=True)
    assert (again.password, again.public_key) == (password, public)
    assert draw_login(tmp_path / "secrets", "airlock").password != password
    assert len(password) >= 32
    assert public.startswith("ssh-ed25519 ")


def test_its_files_are_for_their_owner_alone(tmp_path):
    login = draw_login(tmp_path / "secrets", "zuul", key=True)
    assert login.key is not None
    assert [path.stat().st_mode & 0o777 for path in (login.password_file, login.key)] == [0o600, 0o600]
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700


def test_a_half_drawn_key_is_drawn_anew(tmp_path):
    # As left by a kill between the two renames: the public half is there, the private one is not.
    (tmp_path / "zuul.key.pub").write_text("ssh-ed25519 AAAA old")
    (tmp_path / "zuul.key.part").write_text("half")
    login = draw_login(tmp_path, "zuul", key=True)
    assert login.key is not None
    assert login.key.read_bytes().startswith(b"-----BEGIN OPENSSH PRIVATE KEY-----")
    assert login.public_key != "ssh-ed25519 AAAA old"
    assert not (tmp_path / "zuul.key.part").exists()
