"""Properties of the reading over made-up Dockerfiles."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from airlock.kolla.reading import load_rules
from airlock.kolla.reading.filesystem import covers, may_overlap, normalise

KNOWN = {name for rule in load_rules().commands for name in rule.names}
HARMLESS = st.sampled_from(
    [
        "true",
        "mkdir -p /etc/keystone",
        "chmod 644 /x",
        "cp -r /keystone/etc/* /etc/keystone/",
        "echo a > /tmp/x",
        "ls /tmp",
    ]
)
JOINT = st.sampled_from([" && ", "; ", " || ", " | "])
NAMES = st.from_regex(r"[a-z][a-z0-9_.-]{0,11}", fullmatch=True).filter(
    lambda name: name not in KNOWN | {"if", "then", "else", "elif", "fi", "do", "done", "case", "esac", "while",
                                      "until", "for", "in"}
)  # fmt: skip
ARGUMENTS = st.lists(st.from_regex(r"[A-Za-z0-9_./:=-]{1,10}", fullmatch=True), max_size=4)
WRAPPERS = ["{}", "({})", "{{ {}; }}", "if {}; then true; fi", "if true; then {}; fi", "for i in a b; do {}; done",
            "while {}; do break; done", "echo $({})", 'echo "$({})"', "case a in a) {};; esac", "! {}",
            "sh -c '{}'", "x=$({})", "true > /tmp/$({})", "[ \"$({})\" ]", "rm -f ${{LANG:+$({})}}"]  # fmt: skip


@settings(deadline=None, max_examples=120)
@given(
    st.lists(HARMLESS, max_size=3), JOINT, NAMES, ARGUMENTS, st.sampled_from(WRAPPERS), st.lists(HARMLESS, max_size=2)
)
def test_an_unknown_command_anywhere_in_a_run_is_never_home(reader, before, joint, name, arguments, wrapper, after):
    body = joint.join([*before, wrapper.format(" ".join([name, *arguments])), *after])
    commands = reader.commands(f"RUN true {joint} {body}")
    assert any(one.kind == "unclassified" for one in commands), commands


@settings(deadline=None, max_examples=80)
@given(st.sampled_from(["curl http://a.example.org/x", "apt-get -y install x", "python3 -m pip install x"]),
       st.sampled_from(WRAPPERS), st.sampled_from(WRAPPERS))  # fmt: skip
def test_a_demand_inside_anything_is_never_home(reader, demand, inner, outer):
    body = (
        outer.format(inner.format(demand).replace("'", "")) if "sh -c" in outer else outer.format(inner.format(demand))
    )
    kinds = {one.kind for one in reader.commands(f"RUN {body}")}
    assert kinds & {"demand", "unclassified"}, body


@settings(deadline=None, max_examples=60)
@given(
    st.lists(HARMLESS, min_size=1, max_size=4),
    st.lists(st.sampled_from([" ", " \\\n ", " \\\n\n", " \\\n#x\n"]), min_size=12),
)
def test_splitting_a_run_into_lines_does_not_change_its_reading(reader, commands, gaps):
    one_line = " && ".join(commands)
    words = one_line.split(" ")
    split = words[0] + "".join(gap + word for gap, word in zip(gaps * len(words), words[1:], strict=False))
    whole, parts = reader.child(f"RUN {one_line}"), reader.child(f"RUN {split}")
    assert [(one.argv, one.kind, one.writes) for one in whole.commands] == [
        (one.argv, one.kind, one.writes) for one in parts.commands
    ]
    assert whole.state == parts.state


@settings(deadline=None, max_examples=80)
@given(
    st.from_regex(r"-{1,2}[a-zA-Z][a-z-]{0,8}", fullmatch=True),
    st.sampled_from(["cp", "tar", "sed", "ln", "curl", "apt-get", "mkdir", "useradd"]),
)
def test_an_option_that_no_rule_lists_is_never_home(reader, option, name):
    letters = {letter for rule in load_rules().commands_named(name) for letter in rule.short}
    longs = {spec.partition("=")[0] for rule in load_rules().commands_named(name) for spec in rule.long}
    listed = option[2:] in longs if option.startswith("--") else set(option[1:]) <= letters
    if not listed:
        assert reader.kinds(f"RUN {name} {option} /keystone/x /tmp/x") != ["home"]


SYSTEM = st.sampled_from(
    [
        "/usr/bin/rm", "/bin/sed", "/usr/local/bin/pip", "/etc/apt/apt.conf.d/x", "/usr/lib/x.so", "/etc/hosts",
        "/root/.config/pip/pip.conf", "/etc/ld.so.preload", "/lib/x", "/sbin/ldconfig", "/etc/pip.conf", "/pip.py",
        "/var/lib/dpkg/info/a.postinst", "/etc/profile.d/x.sh",
    ]
)  # fmt: skip
WRITES = st.sampled_from(
    [
        "cp /keystone/x {}", "echo x > {}", "ls >> {}", "mv /keystone/x {}", "ln -s /tmp/x {}", "touch {}",
        "sed -i s/a/b/ {}", "curl -o {} http://a.example.org/x", "install -m 755 /keystone/x {}", "ls | tee {}",
        "ls 2> {}", "{{ ls; }} > {}", "ln /tmp/x {}",
    ]
)  # fmt: skip


@settings(deadline=None, max_examples=100)
@given(SYSTEM, WRITES, st.booleans())
@example("/usr/bin/rm", "cp /keystone/x {}", True)
def test_a_write_where_programs_look_is_unclassified_also_through_a_link(reader, path, write, through_link):
    setup = ""
    if through_link:
        top = "/" + path.split("/")[1]
        setup, path = f"ln -s {top} /opt/link && ", path.replace(top, "/opt/link", 1)
    commands = reader.commands(f"RUN {setup}{write.format(path)}")
    assert any(one.kind == "unclassified" for one in commands), commands


segments = st.sampled_from(["a", "b", "ab", "*", "a*", "..", ".", ""])
paths = st.lists(segments, min_size=1, max_size=5).map(lambda parts: "/" + "/".join(parts))


@given(paths)
def test_normalising_is_stable_and_leaves_no_way_up(path):
    once = normalise(path)
    assert normalise(once) == once
    assert once.startswith("/")
    assert ".." not in once.split("/")


@given(paths.map(normalise), paths.map(normalise))
def test_what_a_place_covers_may_be_it_or_below_it(pattern, path):
    if covers(pattern, path) and "*" not in path:
        depth = len(pattern.strip("/").split("/"))
        assert pattern == "/" or may_overlap(pattern, "/" + "/".join(path.strip("/").split("/")[:depth]))
