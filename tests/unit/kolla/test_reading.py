"""What the reader makes of Kolla's own ways of writing things."""

from __future__ import annotations

import hashlib

import pytest

from airlock.kolla.reading import SourceRef, resolve_path, resolve_paths
from airlock.kolla.reading.model import (
    AptCommand,
    BaseImage,
    ContextRef,
    Download,
    DownloadRef,
    Edit,
    Galaxy,
    GoneRef,
    KeyFetch,
    PipInstall,
    Playbook,
    SourceAdd,
    TextRef,
    VendorRepository,
    VenvCreate,
)

CONSTRAINTS = "/requirements/upper-constraints.txt"
PIP = f"python3 -m pip --no-cache-dir install --upgrade -c {CONSTRAINTS}"


def only(commands, kind):
    found = [command.detail for command in commands if isinstance(command.detail, kind)]
    assert len(found) == 1, found
    return found[0]


def details(commands, kind):
    return [command.detail for command in commands if isinstance(command.detail, kind)]


def test_the_parent_of_an_image_is_a_demand(reader):
    command = reader.child("").commands[0]
    assert (command.kind, command.demand, command.detail) == ("demand", "base-image", BaseImage("openstack-base"))


def test_apt_commands_come_in_order_with_their_very_words(reader):
    commands = reader.commands(
        "RUN apt-get --error-on=any update && apt-get -y install --no-install-recommends a 'b' grub-efi-*64-signed \\\n"
        " && apt purge -y extrepo \\\n && apt --purge autoremove -y \\\n && apt-get -y dist-upgrade && apt-get clean"
    )
    found = [(one.line, one.program, one.verb, one.args, one.options) for one in details(commands, AptCommand)]
    assert found == [
        (2, "apt-get", "update", (), ("--error-on=any",)),
        (2, "apt-get", "install", ("a", "b", "grub-efi-*64-signed"), ("-y", "--no-install-recommends")),
        (3, "apt", "purge", ("extrepo",), ("-y",)),
        (4, "apt", "autoremove", (), ("--purge", "-y")),
        (5, "apt-get", "dist-upgrade", (), ("-y",)),
        (5, "apt-get", "clean", (), ()),
    ]
    assert [one.kind for one in commands] == ["demand"] * 5 + ["home"]


def test_apt_is_told_the_files_below_etc_apt_as_they_were_at_that_line(reader):
    commands = reader.commands(
        "RUN apt-get update\n"
        "RUN rm -f /etc/apt/sources.list.d/debian.sources\n"
        "COPY sources.list /etc/apt/sources.list\n"
        "RUN apt-get update\n"
        "RUN echo 'Types: deb' > /etc/apt/sources.list.d/x.sources \\\n"
        " && echo 'Suites: b' >> /etc/apt/sources.list.d/x.sources\n"
        "RUN apt-get update"
    )
    first, second, third = ({file.path: file.ref for file in one.config} for one in details(commands, AptCommand))
    assert first == {}
    assert isinstance(second["/etc/apt/sources.list.d/debian.sources"], GoneRef)
    assert isinstance(second["/etc/apt/sources.list"], ContextRef)
    assert third["/etc/apt/sources.list.d/x.sources"] == TextRef("child", "Types: deb\nSuites: b\n")
    assert [one.kind for one in commands if one.argv[0] in ("rm", "COPY", "echo")] == ["network-config"] * 4


def test_what_is_written_to_apts_sources_must_be_known(reader):
    for piece in ("cat /tmp/x > /etc/apt/sources.list", "echo 'a\\nb' > /etc/apt/sources.list.d/x.list"):
        assert reader.kinds(f"RUN {piece}") == ["unclassified"]
    conditional = "RUN if [ -e /x ]; then echo 'deb http://a b c' > /etc/apt/sources.list.d/x.list; fi"
    assert reader.kinds(conditional) == ["home", "unclassified"]


def test_a_pip_line_names_requirements_sources_constraints_and_interpreter(reader):
    found = only(
        reader.commands(f"RUN {PIP} /keystone[ldap] 'requests>=2' tooz[redis] x==67.2.* /plugins/*y*"), PipInstall
    )
    assert found.requirements == ("requests>=2", "tooz[redis]", "x==67.2.*")
    assert [(one.path, one.extras) for one in found.source_paths] == [("/keystone", ("ldap",)), ("/plugins/*y*", ())]
    keystone, plugins = (one.refs for one in found.source_paths)
    assert keystone == (SourceRef("openstack-base", "keystone-base-archive", ""),)
    assert plugins == (SourceRef("openstack-base", "plugins-archive", "plugins/*y*", top=False),)
    (constraint,) = found.constraint_files
    assert constraint.path == CONSTRAINTS
    assert constraint.ref == SourceRef(
        "openstack-base", "openstack-base-archive", "upper-constraints.txt", edits=(Edit("/^ovs===/d"),)
    )
    assert (found.interpreter, found.venv) == ("/var/lib/kolla/venv/bin/python3", "/var/lib/kolla/venv")
    assert (found.upgrade, found.conditional) == (True, False)
    assert found.options == ("--no-cache-dir", "--upgrade", "-c", CONSTRAINTS)


def test_plugins_of_an_image_and_of_its_parents_are_all_meant(reader):
    reading = reader.child(f'ADD plugins-archive /\nRUN if [ "$(ls /plugins)" ]; then {PIP} /plugins/*; fi')
    assert reading.unclassified == ()
    found = only(reading.commands, PipInstall)
    assert found.conditional
    assert [ref.image for ref in found.source_paths[0].refs] == ["openstack-base", "child"]
    assert [one.condition for one in reading.commands if one.detail is found] == ['if [ "$(ls /plugins)" ]']


def test_a_requirements_file_of_a_source_is_an_obligation(reader):
    found = only(reader.commands(f"RUN {PIP} -r /keystone/driver-requirements.txt more"), PipInstall)
    (file,) = found.requirement_files
    assert file.ref == SourceRef("openstack-base", "keystone-base-archive", "driver-requirements.txt")


def test_pip_outside_of_every_virtual_environment_is_the_systems(reader):
    reading = reader.read("FROM a\nRUN python3 -m pip install x && pip3 install y\n")
    assert [(one.interpreter, one.venv) for one in details(reading.commands, PipInstall)] == [
        ("/usr/bin/python3", "")
    ] * 2


def test_pip_by_path_and_in_a_nested_shell_is_found_with_its_line(reader):
    commands = reader.commands(
        "ENV VENV /var/lib/kolla/venv\n"
        "RUN apt-get update && \\\n bash -c '$VENV/bin/pip install \"a>=6,<7\" && \\\n apt-get clean'"
    )
    assert [(one.line, one.demand) for one in commands if one.detail] == [
        (3, "apt-update"), (4, "pip-install"), (5, "apt-clean"),
    ]  # fmt: skip
    found = only(commands, PipInstall)
    assert (found.requirements, found.venv) == (("a>=6,<7",), "/var/lib/kolla/venv")


def test_the_toolbox_downloads_edits_and_uses_its_constraints(reader):
    reading = reader.read(
        "FROM base\n"
        "RUN mkdir -p /requirements && curl -o /requirements/upper-constraints.txt "
        "${UPPER_CONSTRAINTS_FILE:-https://mirror.example.org/constraints} "
        '&& sed -e "/^openstacksdk===/d" -i requirements/upper-constraints.txt '
        "&& python3.11 -m venv --system-site-packages /opt/ansible\n"
        "ENV PATH /opt/ansible/bin:$PATH\n"
        f"RUN python3.11 -m pip install -c {CONSTRAINTS} pip\n"
    )
    assert reading.unclassified == ()
    assert only(reading.commands, Download) == Download("https://mirror.example.org/constraints", CONSTRAINTS)
    assert only(reading.commands, VenvCreate) == VenvCreate("/opt/ansible", "/usr/bin/python3.11", True)
    found = only(reading.commands, PipInstall)
    assert found.venv == "/opt/ansible"
    assert found.constraint_files[0].ref == DownloadRef(
        "child", "https://mirror.example.org/constraints", (Edit("/^openstacksdk===/d"),)
    )


def test_galaxy_reads_its_requirements_from_the_context_even_as_a_condition_in_a_loop(reader):
    commands = reader.commands(
        "COPY preferences /var/lib/ansible/requirements.yml\n"
        "RUN fail=1; for i in $(seq 1 5); do if ansible-galaxy collection install --timeout 120 "
        "-p /usr/share/ansible/collections -r /var/lib/ansible/requirements.yml; then fail=0; break; fi; "
        'echo "again"; sleep 5; done; if [ "$fail" -eq 1 ]; then exit 1; fi'
    )
    assert {one.kind for one in commands} == {"home", "demand", "network-config"}
    (file,) = only(commands, Galaxy).requirement_files
    assert isinstance(file.ref, ContextRef)
    assert file.ref.name == "preferences"


def test_other_demands_say_what_they_ask_for(reader):
    commands = reader.commands(
        "ADD bifrost-base-archive /bifrost-base-source\n"
        "RUN gpg --keyserver hkp://keys.example.org:80 --recv-keys F77F1EDA57EBB1CC "
        "&& gpg --export F77F1EDA57EBB1CC >/etc/kolla/apt-keys/x.gpg && extrepo enable openstack_caracal "
        "&& fluent-gem install a b && grafana-cli plugins install c\n"
        "RUN ln -s bifrost-base-source/* bifrost && ansible-playbook -vv -i /bifrost/inventory /bifrost/install.yaml "
        "-e git_branch=stable/2024.1\n"
        "RUN git clone https://git.example.org/x.git /opt/x"
    )
    assert {one.kind for one in commands} == {"demand", "network-config", "home"}
    assert only(commands, KeyFetch) == KeyFetch("hkp://keys.example.org:80", ("F77F1EDA57EBB1CC",))
    assert only(commands, VendorRepository) == VendorRepository("openstack_caracal")
    assert only(commands, SourceAdd) == SourceAdd("bifrost-base-archive", "/bifrost-base-source")
    assert only(commands, Playbook).playbooks == ("/bifrost/install.yaml",)
    assert [one.demand for one in commands if one.kind == "demand"] == [
        "source-add", "key", "vendor-repository", "gem", "grafana-plugin", "playbook", "git",
    ]  # fmt: skip


def test_build_arguments_reach_the_address_and_are_forgotten_after_from(reader):
    piece = (
        "ARG zun_cni_daemon_version=1\nARG zun_cni_daemon_url=https://a.example.org/v${zun_cni_daemon_version}.tgz\n"
    )
    found = only(reader.commands(f"{piece}RUN curl -o /tmp/x.tgz ${{zun_cni_daemon_url}}"), Download)
    assert found.url == "https://a.example.org/v1.tgz"
    before = reader.read(f"{piece}FROM a\nRUN curl -o /tmp/x.tgz ${{zun_cni_daemon_url}}\n")
    assert len(before.unclassified) == 1


def test_airlocks_stand_in_counts_from_its_copy_to_its_removal_and_only_with_its_digest(reader):
    shims = frozenset({hashlib.sha256(b"#!/bin/sh\nexit 0\n").hexdigest()})
    use = "RUN extrepo enable x"
    copied = f"{use}\nCOPY tool /usr/local/bin/extrepo\n{use}\nRUN /usr/bin/extrepo enable x\n"
    removals = ("rm -f /usr/local/bin/extrepo", "rm -rf /usr/local/bin", "rm -rf /usr/local/*", "rm -rf $SOMETHING")
    for removal in removals:
        kinds = [one.kind for one in reader.commands(f"{copied}RUN {removal}\n{use}", shims)]
        assert kinds[:5] == ["demand", "home", "home", "demand", "home"], removal
        assert kinds[5] in ("demand", "unclassified"), removal
        assert kinds[5] == "demand" or "*" in removal or "$" in removal
    kinds = [one.kind for one in reader.commands(copied)]
    assert kinds[1] == "unclassified"


def test_the_stand_in_counts_only_where_path_finds_it_first(reader):
    shims = frozenset({hashlib.sha256(b"#!/bin/sh\nexit 0\n").hexdigest()})
    piece = "COPY tool /usr/local/bin/extrepo\nENV PATH=/usr/bin:/usr/local/bin\nRUN extrepo enable x"
    assert [one.kind for one in reader.commands(piece, shims)] == ["home", "home", "demand"]


def test_a_value_printed_by_echo_is_known_without_its_newline(reader):
    found = reader.commands('RUN x="$(echo /tmp/a)" && touch "$x.b" $x')[-1]
    assert found.writes == ("/tmp/a.b", "/tmp/a")


def test_what_happens_in_a_branch_may_or_may_not_have_happened(reader):
    piece = "RUN x=/tmp/a; if [ -e /y ]; then x=/tmp/b; fi; touch $x"
    assert reader.commands(piece)[-1].kind == "unclassified"
    same = "RUN if [ -e /y ]; then x=/tmp/b; else x=/tmp/b; fi; touch $x"
    assert reader.commands(same)[-1].writes == ("/tmp/b",)


def test_a_command_after_a_test_whose_failure_is_hidden_hangs_on_it(reader):
    hidden = reader.commands("RUN [ -e /x ] && apt-get update; true")
    plain = reader.commands("RUN [ -e /x ] && apt-get update")
    assert [one.condition for one in hidden] == ["", "[ -e /x ] &&", ""]
    assert [one.condition for one in plain] == ["", ""]


def test_what_was_removed_is_nowhere(reader):
    state = reader.child("RUN rm -rf /plugins /keystone-base-source").state
    assert resolve_paths(state, "/plugins/*") == ()
    assert resolve_paths(state, "/keystone/setup.py") == ()
    assert reader.kinds(f"RUN rm -rf /plugins && {PIP} /plugins/*")[-1] == "unclassified"


def test_resolve_says_where_things_come_from(reader):
    state = reader.parent.state
    assert resolve_path(state, "/keystone/etc/x") == SourceRef("openstack-base", "keystone-base-archive", "etc/x")
    assert resolve_path(state, "/openstack-base-source/*/a") == SourceRef(
        "openstack-base", "openstack-base-archive", "a"
    )
    assert resolve_path(state, "/keystone-base-source").top is False
    assert resolve_path(state, "/nowhere") is None
    assert resolve_paths(state, "/nowhere") == ()


HARMLESS = [
    "RUN true",
    "RUN true # a remark",
    "RUN true #\\\n; curl http://nowhere.example.org",
    "RUN [ -d /etc/keystone ] && touch /usr/local/bin/kolla_extend_start",
    "RUN if [ ! -e /x ] || [ -n \"$LANG\" ]; then mkdir -p /etc/keystone; else exit 1; fi",
    "RUN . /etc/os-release; if [ \"${PRETTY_NAME#x (y)}\" = \"$PRETTY_NAME\" ]; then echo \"no\"; false; fi",
    "RUN case \"$LANG\" in en*) true;; *) false;; esac",
    "RUN for i in 1 2 3; do echo $i; done",
    "RUN while [ -e /x ]; do sleep 1; done",
    "RUN (cd /tmp && ls) && { cat /etc/passwd; } 2>/dev/null",
    "RUN ls /tmp | cat > /tmp/list",
    "RUN cp -r /keystone/etc/* /etc/keystone/ && chown -R keystone: /etc/keystone",
    "RUN rm -f $(find /lib/systemd/system/ ! -name x -type l)",
    "RUN ln -s /opt/alertmanager* /opt/prometheus_alertmanager",
    "RUN sed -i 's|^exec_dirs.*|exec_dirs=/bin|g' /etc/nova/rootwrap.conf",
    "RUN tar -C /opt -xzvf /tmp/x.tgz ./loopback",
    "RUN usermod --append --home /var/lib/keystone --groups kolla keystone",
    "RUN sh -c 'mkdir -p /etc/keystone'",
    "RUN local_settings=/etc/keystone/x && rm -f $local_settings",
    "COPY extend_start.sh /usr/local/bin/kolla_extend_start",
    "COPY --chmod=0755 extend_start.sh /usr/local/bin/kolla_a",
    "USER keystone",
    "HEALTHCHECK --interval=5s CMD true",
    'ENTRYPOINT ["dumb-init", "--"]',
    'CMD ["kolla_start"]',
    "LABEL a=b\nEXPOSE 80\nVOLUME /x\nSTOPSIGNAL TERM",
]  # fmt: skip


@pytest.mark.parametrize("piece", HARMLESS)
def test_what_is_harmless_stays_at_home(reader, piece):
    assert {(one.kind, one.reason) for one in reader.commands(piece)} == {("home", "")}


def test_configuration_with_known_lines_is_accepted_and_said_to_configure(reader):
    pieces = ["COPY curlrc /root/.curlrc", "COPY dpkg /etc/dpkg/dpkg.cfg.d/dpkg_reducing_disk_footprint"]
    assert [reader.kinds(piece) for piece in pieces] == [["network-config"]] * 2


def test_a_gap_names_line_reason_and_remedy(reader):
    (command,) = reader.commands("RUN true\nRUN true \\\n && frobnicate --now")[2:]
    assert (command.line, command.kind) == (4, "unclassified")
    assert "frobnicate" in command.reason
    assert command.remedy


def test_a_text_that_is_no_dockerfile_is_one_gap(reader):
    reading = reader.read("# syntax=x/y\nFROM a\n")
    assert [(one.line, one.kind) for one in reading.commands] == [(1, "unclassified")]
    assert reader.read("").unclassified


def test_what_follows_a_gap_is_still_read(reader):
    assert reader.kinds("RUN evil; apt-get update\nRUN (((((\nRUN apt-get update") == [
        "unclassified", "demand", "unclassified", "demand",
    ]  # fmt: skip


def test_a_script_nested_beyond_reason_is_refused_not_crashed_on(reader):
    assert "unclassified" in reader.kinds("RUN " + "(" * 3000 + "true" + ")" * 3000)
    assert "unclassified" in reader.kinds("RUN " + "for i in 1; do " * 6 + "true; " + "done; " * 6)
