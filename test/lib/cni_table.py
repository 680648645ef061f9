"""The CNI specification's rules (1.1.0, section 2) as tables, on the plugins in $BIN: every verb, in every version, with every
required variable missing, and what else a call can have wrong. One line for each rule that does not hold; the last line
counts. Nothing here makes an attachment. STATUS wants a resolver that runs, CHECK the netns "table"."""

import itertools
import json
import os
import subprocess
import sys

BIN = os.environ["BIN"]
PLUGINS = ("railway-ipam", "railway-mesh", "railway-dns")
VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")

# What the specification requires; CNI_PATH of GC and STATUS as its reference library has it.
VARIABLES = ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH")
REQUIRED = {
    "ADD": VARIABLES,
    "DEL": ("CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"),
    "CHECK": VARIABLES,
    "GC": ("CNI_PATH",),
    "STATUS": ("CNI_PATH",),
}
SINCE = {"ADD": "0.1.0", "DEL": "0.1.0", "CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}
GOOD = {"CNI_CONTAINERID": "table", "CNI_NETNS": "/run/netns/table", "CNI_IFNAME": "eth0", "CNI_PATH": BIN}
# What a verb comes to where nothing was ever added: DEL, GC and STATUS succeed, CHECK finds no attachment.
NOTHING_THERE = {"DEL": 0, "CHECK": 102, "GC": 0, "STATUS": 0}

held = failed = 0


def config(plugin, version, **more):
    keys = {"name": "table", "type": plugin, "environment": "production", "service": "api"}
    if version is not None:
        keys["cniVersion"] = version
    if plugin == "railway-mesh":
        keys["ipam"] = {"type": "railway-ipam"}
    keys.update(more)
    return {key: value for key, value in keys.items() if value is not ...}


def call(plugin, verb, configuration, variables):
    environment = {key: os.environ[key] for key in os.environ if not key.startswith("CNI_")}
    environment.update({key: value for key, value in variables.items() if value is not None})
    if verb is not None:
        environment["CNI_COMMAND"] = verb
    text = configuration if isinstance(configuration, str) else json.dumps(configuration)
    return subprocess.run([f"{BIN}/{plugin}"], input=text, env=environment, capture_output=True, text=True, timeout=60)


def fault(outcome, code, version, *words):
    """What is wrong with an outcome; code 0: it must succeed, and print nothing."""
    if code == 0:
        if outcome.returncode != 0:
            return f"failed: {outcome.stdout.strip()}"
        return f"printed {outcome.stdout!r}" if outcome.stdout else None
    if outcome.returncode == 0:
        return f"succeeded, not code {code}"
    try:
        error = json.loads(outcome.stdout)
    except ValueError:
        return f"printed no single JSON object: {outcome.stdout!r} {outcome.stderr!r}"
    if not isinstance(error, dict) or type(error.get("code")) is not int or not isinstance(error.get("msg"), str):
        return f"is no error of the specification's: {error}"
    if error["code"] != code:
        return f"has code {error['code']}, not {code}: {error['msg']}"
    if error.get("cniVersion") != version:
        return f"is in version {error.get('cniVersion')}, not {version}"
    missing = [word for word in words if word not in error["msg"]]
    return f"does not say {missing}: {error['msg']}" if missing else None


def expect(what, wrong):
    global held, failed
    if wrong is None:
        held += 1
    else:
        failed += 1
        print(f"{what}: {wrong}")


def subsets(names):
    return itertools.chain.from_iterable(itertools.combinations(names, count) for count in range(1, len(names) + 1))


def missing_variables(plugin):
    """Every set of required variables that is missing or empty is named whole, in every version, before anything else."""
    for verb, required in REQUIRED.items():
        for gone in subsets(required):
            for version, value in itertools.product(("0.3.1", "1.1.0"), (None, "")):
                variables = dict(GOOD, **{name: value for name in gone})
                outcome = call(plugin, verb, config(plugin, version), variables)
                wrong = fault(outcome, 4, version, *gone)
                named = [name for name in VARIABLES if name in outcome.stdout]
                if wrong is None and sorted(named) != sorted(gone):
                    wrong = f"names {named}"
                expect(f"{plugin} {verb} {version} without {gone}", wrong)


def versions(plugin):
    """A verb before its version is code 1; from it on it does its work. An answer is in its call's version."""
    for version, (verb, since) in itertools.product(VERSIONS + (None,), SINCE.items()):
        effective = version or "0.2.0"
        code = 1 if VERSIONS.index(effective) < VERSIONS.index(since) else NOTHING_THERE.get(verb, 8)
        words = (verb, since) if code == 1 else ()
        variables = dict(GOOD, CNI_NETNS="/run/netns/never") if verb == "ADD" else GOOD
        outcome = call(plugin, verb, config(plugin, version), variables)
        expect(f"{plugin} {verb} {version}", fault(outcome, code, effective, *words))
    for version in ("", "1", "1.0", "1.2.0", "0.4", "2.0.0", "v1.0.0", "1.1.0 "):
        for verb in SINCE:
            outcome = call(plugin, verb, config(plugin, version), GOOD)
            wrong = fault(outcome, 1, json.loads(outcome.stdout).get("cniVersion") if outcome.stdout else None, "cniVersion")
            expect(f"{plugin} {verb} cniVersion {version!r}", wrong)


def version_verb(plugin):
    """VERSION needs no variables, and answers in the version it is asked in."""
    for given, variables in itertools.product(VERSIONS + ("9.9.9",), ({}, GOOD)):
        outcome = call(plugin, "VERSION", {"cniVersion": given}, variables)
        answer = json.loads(outcome.stdout or "null")
        good = outcome.returncode == 0 and answer == {"cniVersion": given, "supportedVersions": list(VERSIONS)}
        expect(f"{plugin} VERSION {given}", None if good else f"answered {answer}")
    for text in ("", "{}", "nonsense"):
        outcome = call(plugin, "VERSION", text, {})
        answer = json.loads(outcome.stdout or "null")
        good = outcome.returncode == 0 and answer["supportedVersions"] == list(VERSIONS)
        expect(f"{plugin} VERSION with {text!r}", None if good else f"answered {answer}")


def verbs(plugin):
    for verb in ("add", "Add", "ADDD", "UPDATE", " ADD"):
        expect(f"{plugin} {verb}", fault(call(plugin, verb, config(plugin, "1.1.0"), GOOD), 4, "1.1.0", "CNI_COMMAND", verb))
    about = call(plugin, None, "", {})
    good = about.returncode == 0 and not about.stdout and plugin in about.stderr and "1.1.0" in about.stderr
    expect(f"{plugin} without a verb", None if good else f"said {about}")


def variables_and_names(plugin):
    """What a variable or a name may be, and that one which the verb does not use is not looked at."""
    rows = [("CNI_CONTAINERID", value, 4) for value in ("..", "../x", "a b", "-a", ".a", "_a", "a/b", "ä", "a" * 300)]
    rows += [("CNI_IFNAME", value, 4) for value in (".", "..", "a/b", "a:b", "a b", "a\tb", "sixteen-letters-", "%d")]
    rows += [("CNI_ARGS", value, 4) for value in ("a", "=b", "IgnoreUnknown=1;a", "IgnoreUnknown=2;A=b", "A=b", ";")]
    rows += [("CNI_NETNS_OVERRIDE", "maybe", 4)]
    for name, value, code in rows:
        for verb in ("ADD", "CHECK"):
            outcome = call(plugin, verb, config(plugin, "1.1.0"), dict(GOOD, **{name: value}))
            expect(f"{plugin} {verb} {name}={value}", fault(outcome, code, "1.1.0", name))
        if name in ("CNI_CONTAINERID", "CNI_IFNAME"):
            outcome = call(plugin, "DEL", config(plugin, "1.1.0"), dict(GOOD, **{name: value}))
            expect(f"{plugin} DEL {name}={value}", fault(outcome, 4, "1.1.0", name))
        for verb in ("GC", "STATUS"):
            outcome = call(plugin, verb, config(plugin, "1.1.0"), dict(GOOD, **{name: value}))
            expect(f"{plugin} {verb} {name}={value}", fault(outcome, 0, "1.1.0"))
    for args in ("a", "A=b", "K=1;K=2", "=", "IgnoreUnknown=maybe;" * 100):
        outcome = call(plugin, "DEL", config(plugin, "1.1.0"), dict(GOOD, CNI_ARGS=args))
        expect(f"{plugin} DEL CNI_ARGS={args[:30]}", fault(outcome, 0, "1.1.0"))
    for netns in (None, "", "/run/netns/never", "/proc/4194304/ns/net", "relative"):
        outcome = call(plugin, "DEL", config(plugin, "1.1.0"), dict(GOOD, CNI_NETNS=netns))
        expect(f"{plugin} DEL in netns {netns}", fault(outcome, 0, "1.1.0"))


def configurations(plugin):
    rows = [({"name": value}, 7, "name") for value in (..., None, "", "..", "a b", "-a", "a/b", "a" * 129, 7)]
    rows += [({"type": value}, 7, "type") for value in (..., None, "", "a/b", "..", [])]
    rows += [({"ipam": value}, 7, "ipam") for value in ("x", [], {"type": "a/b"}, {"type": 1}, {"pool": "fd00::/8"})]
    rows += [({"prevResult": value}, 7, "prevResult") for value in ("x", [], 1)]
    rows += [({"runtimeConfig": value}, 7, "runtimeConfig") for value in ("x", [], {"dns": []}, {"ips": {}})]
    rows += [({"args": value}, 7, "args") for value in ("x", [], {"cni": []})]
    rows += [({"unheard-of": 5}, 2, "unheard-of")]
    for more, code, word in rows:
        for verb in ("ADD", "CHECK", "DEL", "GC", "STATUS"):
            outcome = call(plugin, verb, config(plugin, "1.1.0", **more), GOOD)
            expect(f"{plugin} {verb} with {more}", fault(outcome, code, "1.1.0", word))
    # What the runtime owns is never an unknown key of ours, in any verb.
    for more in (
        {"cniVersions": ["1.0.0", "1.1.0"], "disableCheck": True, "disableGC": False, "loadOnlyInlinedPlugins": True},
        {"capabilities": {"portMappings": True}, "runtimeConfig": {"portMappings": [{"HostPort": 1}], "other": 1}},
        {"cni.dev/anything": {"a": 1}, "args": {"cni": {"labels": [{"key": "a", "value": "b"}]}, "other": 1}},
    ):
        for verb, code in NOTHING_THERE.items():
            outcome = call(plugin, verb, config(plugin, "1.1.0", **more), GOOD)
            expect(f"{plugin} {verb} with {list(more)}", fault(outcome, code, "1.1.0"))
    for text in ("", "{", "[]", "null", '"x"', "{} {}", '{"a":1,"a":2}', "[" * 5000, '{"cniVersion":"1.1.0","name":"\xff'):
        for verb in SINCE:
            outcome = call(plugin, verb, text, GOOD)
            version = json.loads(outcome.stdout).get("cniVersion") if outcome.stdout else None
            expect(f"{plugin} {verb} of {text[:20]!r}", fault(outcome, 6, version))


def garbage_lists(plugin):
    """A malformed list fails whole, whichever key it stands under; what is missing, null or empty succeeds."""
    keys = ("cni.dev/valid-attachments", "cni.dev/attachments")
    bad = ({}, "x", 1, [1], [{}], [{"containerID": "a"}], [{"ifname": "eth0"}], [{"containerID": "", "ifname": "eth0"}],
           [{"containerID": "a", "ifname": "eth0"}, {"containerID": 1, "ifname": "eth0"}])
    for key, other, value in itertools.product(keys, (..., None, []), bad):
        more = {keys[1 - keys.index(key)]: other, key: value}
        outcome = call(plugin, "GC", config(plugin, "1.1.0", **more), GOOD)
        expect(f"{plugin} GC with {more}", fault(outcome, 7, "1.1.0", key))
    for one, two in itertools.product((..., None, [], [{"containerID": "a", "ifname": "eth0"}]), repeat=2):
        outcome = call(plugin, "GC", config(plugin, "1.1.0", **{keys[0]: one, keys[1]: two}), GOOD)
        expect(f"{plugin} GC with {one} and {two}", fault(outcome, 0, "1.1.0"))


for suite in (missing_variables, versions, version_verb, verbs, variables_and_names, configurations, garbage_lists):
    for each in PLUGINS:
        suite(each)
print(f"{held} rules held, {failed} did not")
sys.exit(failed != 0 or held < 1500)
