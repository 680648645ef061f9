"""image.py NAME FILE PROGRAM...: an image, as an archive for `ctr image import`, that holds Debian's busybox-static and static PROGRAMs
in /bin; written to FILE. A container that is told nothing sleeps."""

import hashlib
import io
import json
import os
import sys
import tarfile


def add(archive, name, data, mode=0o644):
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    archive.addfile(entry, io.BytesIO(data))


def layer(programs):
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        for directory in ("bin", "etc", "proc", "sys", "dev", "tmp", "www"):
            entry = tarfile.TarInfo(directory)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        for program in programs:
            with open(program, "rb") as file:
                add(archive, "bin/" + os.path.basename(program), file.read(), 0o755)
        add(archive, "etc/passwd", b"root:x:0:0:root:/:/bin/sh\n")
        for name in ("sh", "sleep"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
    return output.getvalue()


def main(name, path, *programs):
    content = layer(("/bin/busybox",) + programs)
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["/bin/sleep", "2147483647"], "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(content).hexdigest()]},
        }
    ).encode()
    manifest = json.dumps([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(path, "w") as archive:
        add(archive, "config.json", config)
        add(archive, "layer.tar", content)
        add(archive, "manifest.json", manifest)


main(*sys.argv[1:])
