"""Plays the kubelet: speaks the container runtime interface to the socket $CRI_SOCKET.

    cri.py run CONFIG.json IMAGE COMMAND...   a pod and one container in it; prints "<sandbox> <container>"
    cri.py sandbox CONFIG.json                a pod's sandbox alone; prints its ID
    cri.py exec CONTAINER COMMAND...          what it prints; its exit status
    cri.py stop|remove SANDBOX...
    cri.py ip SANDBOX
    cri.py netns SANDBOX                      the path of its netns
    cri.py ready                              whether the runtime calls its network ready; else why not, and status 1

CONFIG.json is a PodSandboxConfig. The messages are generated from cri.proto into the directory $CRI_MESSAGES."""

import json
import os
import sys

sys.path.insert(0, os.environ["CRI_MESSAGES"])
import cri_pb2 as cri
import grpc
from google.protobuf import json_format

SECONDS = 120


class Runtime:
    def __init__(self, path):
        self.channel = grpc.insecure_channel("unix://" + path)

    def __getattr__(self, name):
        call = self.channel.unary_unary(
            f"/runtime.v1.RuntimeService/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=getattr(cri, name + "Response").FromString,
        )
        return lambda **fields: call(getattr(cri, name + "Request")(**fields), timeout=SECONDS)


def sandbox(runtime, path):
    with open(path, encoding="utf-8") as file:
        config = json_format.ParseDict(json.load(file), cri.PodSandboxConfig())
    return config, runtime.RunPodSandbox(config=config).pod_sandbox_id


def run(runtime, path, image, *command):
    config, pod = sandbox(runtime, path)
    container = runtime.CreateContainer(
        pod_sandbox_id=pod,
        sandbox_config=config,
        config=cri.ContainerConfig(
            metadata=cri.ContainerMetadata(name="main"), image=cri.ImageSpec(image=image), command=command
        ),
    ).container_id
    runtime.StartContainer(container_id=container)
    print(pod, container)


def execute(runtime, container, *command):
    answer = runtime.ExecSync(container_id=container, cmd=command, timeout=SECONDS)
    sys.stdout.write(answer.stdout.decode())
    sys.stderr.write(answer.stderr.decode())
    return answer.exit_code


def ready(runtime):
    for condition in runtime.Status().status.conditions:
        if condition.type == "NetworkReady" and not condition.status:
            print(condition.message)
            return 1
    return 0


def each(function, pods):
    for pod in pods:
        function(pod_sandbox_id=pod)


def netns(runtime, pod):
    info = json.loads(runtime.PodSandboxStatus(pod_sandbox_id=pod, verbose=True).info["info"])
    print(next(n["path"] for n in info["runtimeSpec"]["linux"]["namespaces"] if n["type"] == "network"))


COMMANDS = {
    "run": run,
    "sandbox": lambda runtime, path: print(sandbox(runtime, path)[1]),
    "exec": execute,
    "stop": lambda runtime, *pods: each(runtime.StopPodSandbox, pods),
    "remove": lambda runtime, *pods: each(runtime.RemovePodSandbox, pods),
    "ip": lambda runtime, pod: print(runtime.PodSandboxStatus(pod_sandbox_id=pod).status.network.ip),
    "netns": netns,
    "ready": ready,
}

try:
    sys.exit(COMMANDS[sys.argv[1]](Runtime(os.environ["CRI_SOCKET"]), *sys.argv[2:]))
except grpc.RpcError as error:
    sys.exit(f"{sys.argv[1]}: {error.code().name}: {error.details()}")
