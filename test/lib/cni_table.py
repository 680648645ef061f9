"""The CNI specification's rules (1.1.0, section 2) as tables, on the plugins in $BIN: every verb, in every version, with every
required variable missing, and what else a call can have wrong. cni_table.py STRIDE looks at each STRIDEth rule (1: all). One line for
each rule that does not hold; the last line counts. Nothing here makes an attachment. STATUS wants a resolver that runs, CHECK the netns "table"."""

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
ANY = object()  # one of VERSIONS
# What a verb comes to where nothing was ever added: DEL, GC and STATUS succeed, CHECK finds no attachment.
NOTHING_THERE = {"DEL": 0, "CHECK": 102, "GC": 0, "STATUS": 0}


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
    if error.get("cniVersion") not in (VERSIONS if version is ANY else (version,)):
        return f"is in version {error.get('cniVersion')}, not {version}"
    missing = [word for word in words if word not in error["msg"]]
    return f"does not say {missing}: {error['msg']}" if missing else None


def subsets(names):
    return itertools.chain.from_iterable(itertools.combinations(names, count) for count in range(1, len(names) + 1))


# Each suite yields rules: what it is about, and a function that gives what is wrong, or None. It is called before the next is made.


def missing_variables(plugin):
    """Every set of required variables that is missing or empty is named whole, in every version, before anything else."""

    def rule(verb, version, gone, value):
        outcome = call(plugin, verb, config(plugin, version), dict(GOOD, **{name: value for name in gone}))
        named = [name for name in VARIABLES if name in outcome.stdout]
        wrong = fault(outcome, 4, version, *gone)
        return wrong or (f"names {named}" if sorted(named) != sorted(gone) else None)

    for verb, required in REQUIRED.items():
        for gone, version, value in itertools.product(subsets(required), ("0.3.1", "1.1.0"), (None, "")):
            yield f"{verb} {version} without {gone}", lambda: rule(verb, version, gone, value)


def versions(plugin):
    """A verb before its version is code 1; from it on it does its work. An answer is in its call's version."""
    for version, (verb, since) in itertools.product(VERSIONS + (None,), SINCE.items()):
        effective = version or "0.2.0"
        code = 1 if VERSIONS.index(effective) < VERSIONS.index(since) else NOTHING_THERE.get(verb, 8)
        words = (verb, since) if code == 1 else ()
        variables = dict(GOOD, CNI_NETNS="/run/netns/never") if verb == "ADD" else GOOD
        yield f"{verb} {version}", lambda: fault(
            call(plugin, verb, config(plugin, version), variables), code, effective, *words
        )
    for version, verb in itertools.product(("", "1", "1.0", "1.2.0", "0.4", "2.0.0", "v1.0.0", "1.1.0 "), SINCE):
        yield f"{verb} cniVersion {version!r}", lambda: fault(
            call(plugin, verb, config(plugin, version), GOOD), 1, ANY, "cniVersion"
        )


def version_verb(plugin):
    """VERSION needs no variables and no input, and answers in the version it is asked in."""

    def rule(text, given, variables):
        outcome = call(plugin, "VERSION", text, variables)
        answer = json.loads(outcome.stdout or "{}")
        good = outcome.returncode == 0 and answer.get("supportedVersions") == list(VERSIONS)
        good = good and set(answer) == {"cniVersion", "supportedVersions"} and given in (None, answer["cniVersion"])
        return None if good else f"answered {answer}"

    for given, variables in itertools.product(VERSIONS + ("9.9.9",), ({}, GOOD)):
        yield f"VERSION {given}", lambda: rule({"cniVersion": given}, given, variables)
    for text in ("", "{}", "nonsense"):
        yield f"VERSION with {text!r}", lambda: rule(text, None, {})


def verbs(plugin):
    def about():
        outcome = call(plugin, None, "", {})
        good = outcome.returncode == 0 and not outcome.stdout and plugin in outcome.stderr and "1.1.0" in outcome.stderr
        return None if good else f"said {outcome}"

    yield "no verb", about
    for verb in ("add", "Add", "ADDD", "UPDATE", " ADD"):
        yield verb, lambda: fault(call(plugin, verb, config(plugin, "1.1.0"), GOOD), 4, "1.1.0", "CNI_COMMAND", verb)


def variables_and_names(plugin):
    """What a variable or a name may be; one which the verb does not use is not looked at; DEL fails on no argument."""
    good = config(plugin, "1.1.0")
    rows = [("CNI_CONTAINERID", value) for value in ("..", "../x", "a b", "-a", ".a", "_a", "a/b", "ä", "a" * 300)]
    rows += [("CNI_IFNAME", value) for value in (".", "..", "a/b", "a:b", "a b", "a\tb", "sixteen-letters-", "%d")]
    rows += [("CNI_ARGS", value) for value in ("a", "=b", "IgnoreUnknown=1;a", "IgnoreUnknown=2;A=b", "A=b", ";")]
    rows += [("CNI_NETNS_OVERRIDE", "maybe")]
    for (name, value), verb in itertools.product(rows, SINCE):
        code = 4 if verb in ("ADD", "CHECK") or (verb == "DEL" and name != "CNI_ARGS") else 0
        words = (name,) if code else ()
        yield f"{verb} {name}={value}", lambda: fault(
            call(plugin, verb, good, dict(GOOD, **{name: value})), code, "1.1.0", *words
        )
    for netns in (None, "", "/run/netns/never", "/proc/4194304/ns/net", "relative"):
        yield f"DEL in netns {netns}", lambda: fault(call(plugin, "DEL", good, dict(GOOD, CNI_NETNS=netns)), 0, "1.1.0")


def configurations(plugin):
    rows = [({"name": value}, 7, "name") for value in (..., None, "", "..", "a b", "-a", "a/b", "a" * 129, 7)]
    rows += [({"type": value}, 7, "type") for value in (..., None, "", "a/b", "..", [])]
    rows += [({"ipam": value}, 7, "ipam") for value in ("x", [], {"type": "a/b"}, {"type": 1}, {"pool": "fd00::/8"})]
    rows += [({"prevResult": value}, 7, "prevResult") for value in ("x", [], 1)]
    rows += [({"runtimeConfig": value}, 7, "runtimeConfig") for value in ("x", [], {"dns": []}, {"ips": {}})]
    rows += [({"args": value}, 7, "args") for value in ("x", [], {"cni": []})]
    for (more, code, word), verb in itertools.product(rows, SINCE):
        yield f"{verb} with {more}", lambda: fault(
            call(plugin, verb, config(plugin, "1.1.0", **more), GOOD), code, "1.1.0", word
        )
    # A DEL does not fail for what only ADD goes by.
    for verb in SINCE:
        code, words = (0, ()) if verb == "DEL" else (2, ("unheard-of",))
        yield f"{verb} with an unknown key", lambda: fault(
            call(plugin, verb, config(plugin, "1.1.0", **{"unheard-of": 5}), GOOD), code, "1.1.0", *words
        )
    # What the runtime owns is never an unknown key of ours, in any verb.
    runtimes = (
        {"cniVersions": ["1.0.0", "1.1.0"], "disableCheck": True, "disableGC": False, "loadOnlyInlinedPlugins": True},
        {"capabilities": {"portMappings": True}, "runtimeConfig": {"portMappings": [{"HostPort": 1}], "other": 1}},
        {"cni.dev/anything": {"a": 1}, "args": {"cni": {"labels": [{"key": "a", "value": "b"}]}, "other": 1}},
    )
    for more, (verb, code) in itertools.product(runtimes, NOTHING_THERE.items()):
        yield f"{verb} with {list(more)}", lambda: fault(
            call(plugin, verb, config(plugin, "1.1.0", **more), GOOD), code, "1.1.0"
        )
    texts = ("", "{", "[]", "null", '"x"', "{} {}", '{"a":1,"a":2}', "[" * 5000, '{"cniVersion":"1.1.0","name":"\xff')
    for text, verb in itertools.product(texts, SINCE):
        yield f"{verb} of {text[:20]!r}", lambda: fault(call(plugin, verb, text, GOOD), 6, ANY)


def garbage_lists(plugin):
    """A malformed list fails whole, whichever key it stands under; what is missing, null or empty succeeds."""
    keys = ("cni.dev/valid-attachments", "cni.dev/attachments")
    entry = {"containerID": "a", "ifname": "eth0"}
    bad = ({}, "x", 1, [1], [{}], [{"containerID": "a"}], [{"ifname": "eth0"}], [{"containerID": "", "ifname": "eth0"}],
           [entry, {"containerID": 1, "ifname": "eth0"}])

    def collect(lists):
        return call(plugin, "GC", config(plugin, "1.1.0", **lists), GOOD)

    for (key, other), beside, value in itertools.product((keys, keys[::-1]), (..., None, []), bad):
        lists = {other: beside, key: value}
        yield f"GC with {lists}", lambda: fault(collect(lists), 7, "1.1.0", key)
    for one, two in itertools.product((..., None, [], [entry]), repeat=2):
        lists = {keys[0]: one, keys[1]: two}
        yield f"GC with {lists}", lambda: fault(collect(lists), 0, "1.1.0")


def main(stride):
    held = failed = count = 0
    for suite, plugin in itertools.product(
        (missing_variables, versions, version_verb, verbs, variables_and_names, configurations, garbage_lists), PLUGINS
    ):
        for what, rule in suite(plugin):
            count += 1
            if count % stride:
                continue
            wrong = rule()
            held += wrong is None
            failed += wrong is not None
            if wrong is not None:
                print(f"{plugin} {what}: {wrong}")
    print(f"of {count} rules {held} held, {failed} did not")
    return failed != 0 or held < 1900 // stride


sys.exit(main(int(sys.argv[1])))
