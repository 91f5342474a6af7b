"""Checks the manifests: that what has to fit together does, that who admits them will, and that the
environment each pod will see means the world that its manifest says.
Usage: manifests.py MANIFESTS VECTORS SCRATCH

Operators are stood in for by the functions below; which variables each of them sets is compared
with a recorded vector, so that a stand-in cannot be kinder than the real one."""
import glob
import json
import os
import re
import shlex
import subprocess
import sys

import yaml

SECRET_FILE = "/run/muster/secret"
RETRIED, FINAL = {138, 143}, {64, 71, 78, 124, 126, 127}
MARGIN_S = 10  # between --grace and the kubelet's patience
# What the webhook of JobSet 0.8 asks of the name of a rule.
JOBSET_RULE = re.compile(r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")

manifests, vectors_path, scratch = sys.argv[1:]
with open(vectors_path) as file:
    vectors = {vector["name"]: vector for vector in json.load(file)}
secret_path = os.path.join(scratch, "secret")
with open(secret_path, "w") as file:
    file.write("a secret\n")


def check(fact, text):
    if not fact:
        sys.exit(f"manifests: {text}")


def keys_like(env, vector):
    everywhere = {"HOSTNAME", "POD_NAMESPACE"}
    recorded = {key for key in vectors[vector]["env"] if not key.startswith("KUBERNETES_")}
    check(set(env) - everywhere == recorded - everywhere, f"{vector}: {sorted(env)}")


class Pod:
    """What a kubelet would start: a pod's template, its name, and what the operator adds."""

    def __init__(self, job, name, spec, env, annotations=None):
        self.job, self.name, self.spec, self.operator_env = job, name, spec, env
        self.annotations = annotations or {}
        self.container = spec["containers"][0]

    def own_env(self):
        env = {}
        for entry in self.container.get("env", []):
            if "value" in entry:
                env[entry["name"]] = entry["value"]
            else:
                path = entry["valueFrom"]["fieldRef"]["fieldPath"]
                env[entry["name"]] = self.annotations[path.split("'")[1]]
        return env

    def command(self):
        return self.container["command"] + self.container.get("args", [])


def option(command, name):
    return command[command.index(name) + 1]


def pytorchjob(job):
    spec = job["spec"]
    replicas = spec["pytorchReplicaSpecs"]
    name, nproc = job["metadata"]["name"], int(spec["nprocPerNode"])
    nodes = sum(replica["replicas"] for replica in replicas.values())
    rank = 0
    for role in ("Master", "Worker"):
        check(replicas[role]["restartPolicy"] == "ExitCode", f"{name}: restartPolicy is not ExitCode")
        pod_spec = replicas[role]["template"]["spec"]
        check(pod_spec["containers"][0]["name"] == "pytorch", f"{name}: no container pytorch")
        for index in range(replicas[role]["replicas"]):
            master = f"{name}-master-0"
            env = {
                "PYTHONUNBUFFERED": "1", "MASTER_ADDR": master, "MASTER_PORT": "23456",
                "PET_MASTER_ADDR": master, "PET_MASTER_PORT": "23456",
                "WORLD_SIZE": str(nodes * nproc), "RANK": str(rank), "PET_NODE_RANK": str(rank),
                "PET_NNODES": str(nodes), "PET_NPROC_PER_NODE": str(nproc),
            }
            keys_like(env, "pytorchjob-worker0-nproc4")
            yield Pod(name, f"{name}-{role.lower()}-{index}", pod_spec, env), nodes, nproc, master
            rank += 1


def trainjob(job):
    name, trainer = job["metadata"]["name"], job["spec"]["trainer"]
    runtime = find("TrainingRuntime", job["spec"]["runtimeRef"]["name"])
    template = runtime["spec"]["template"]["spec"]["replicatedJobs"][0]["template"]["spec"]
    check(documents.index(runtime) < documents.index(job) and told["sortOptions"] == {"order": "fifo"},
          f"{name}: Trainer refuses a TrainJob that comes before its runtime")
    check_failure_policy(name, template)
    pod_spec = template["template"]["spec"]
    pod_spec["containers"][0] |= {key: trainer[key] for key in ("command", "args")}
    nodes, nproc = trainer["numNodes"], trainer["numProcPerNode"]
    for index in range(nodes):
        master = f"{name}-node-0-0.{name}"
        env = {
            "JOB_COMPLETION_INDEX": str(index), "PET_NNODES": str(nodes),
            "PET_NPROC_PER_NODE": str(nproc), "PET_NODE_RANK": str(index),
            "PET_MASTER_ADDR": master, "PET_MASTER_PORT": "29500",
        }
        keys_like(env, "real-trainjob-torch-nproc2")
        yield Pod(name, f"{name}-node-0-{index}", pod_spec, env), nodes, nproc, master


def jobset(job):
    name, group = job["metadata"]["name"], job["spec"]["replicatedJobs"][0]
    for rule in job["spec"]["failurePolicy"]["rules"]:
        check(JOBSET_RULE.match(rule["name"]), f"{name}: JobSet refuses the rule name {rule['name']}")
    template = group["template"]["spec"]
    check_failure_policy(name, template)
    pod_spec = template["template"]["spec"]
    for job_index in range(group["replicas"]):
        for index in range(template["completions"]):
            prefix = "jobset.sigs.k8s.io/"
            pod = Pod(name, f"{name}-{group['name']}-{job_index}-{index}", pod_spec,
                      {"JOB_COMPLETION_INDEX": str(index)}, {
                          prefix + "jobset-name": name, prefix + "job-index": str(job_index),
                          prefix + "replicatedjob-name": group["name"],
                          prefix + "replicatedjob-replicas": str(group["replicas"]),
                          prefix + "restart-attempt": "0"})
            env = pod.own_env()
            check(int(env["MST_PODS_PER_JOB"]) == template["completions"], f"{name}: MST_PODS_PER_JOB")
            keys_like({key for key in env if key != "MST_JOB_SECRET_FILE"} | set(pod.operator_env),
                      "jobset-multi-replicatedjob")
            yield (pod, group["replicas"] * template["completions"],
                   int(option(pod.command(), "--nproc")), f"{name}-{group['name']}-0-0.{name}")


def indexed_job(job):
    name, spec = job["metadata"]["name"], job["spec"]
    check_failure_policy(name, spec)
    pod_spec = spec["template"]["spec"]
    service = find("Service", pod_spec["subdomain"])["spec"]
    check(spec["completionMode"] == "Indexed", f"{name}: not Indexed")
    check(spec["completions"] == spec["parallelism"], f"{name}: the pods must run at the same time")
    check(service["clusterIP"] == "None" and service["publishNotReadyAddresses"]
          and service["selector"] == {"batch.kubernetes.io/job-name": name}, f"{name}: its Service")
    for index in range(spec["completions"]):
        pod = Pod(name, f"{name}-{index}", pod_spec, {"JOB_COMPLETION_INDEX": str(index)})
        env = pod.own_env()
        check(int(env["MST_NNODES"]) == spec["completions"], f"{name}: MST_NNODES")
        keys_like({key for key in env if key != "MST_JOB_SECRET_FILE"} | set(pod.operator_env),
                  "indexed-job")
        yield (pod, spec["completions"], int(option(pod.command(), "--nproc")),
               f"{name}-0.{pod_spec['subdomain']}")


def mpijob(job):
    """The agents are started by mpirun, so what it would run is run, with its variables."""
    name, spec = job["metadata"]["name"], job["spec"]
    launcher, worker = (spec["mpiReplicaSpecs"][role] for role in ("Launcher", "Worker"))
    nodes, slots = worker["replicas"], spec["slotsPerWorker"]
    hosts = [f"{name}-worker-{index}.{name}" for index in range(nodes)]
    root = os.path.join(scratch, "mpi")
    os.makedirs(os.path.join(root, "etc/mpi"), exist_ok=True)
    with open(os.path.join(root, "etc/mpi/hostfile"), "w") as file:
        file.writelines(f"{host}.default.svc slots={slots}\n" for host in hosts)
    pod = Pod(name, f"{name}-launcher", launcher["template"]["spec"],
              vectors["real-mpijob-openmpi-launcher"]["env"])
    answer = resolve(pod, ["--root", root], 78)
    check(answer["mode"] == "control" and answer["nnodes"] == nodes, f"{name}: launcher: {answer}")
    command = pod.command()
    check(option(command, "-x") == f"MST_JOB_SECRET_FILE={SECRET_FILE}", f"{name}: -x")
    check(int(option(command, "odls_base_sigkill_timeout")) > int(option(command, "--grace")),
          f"{name}: mpirun kills before the grace is over")
    agent = command[command.index("sh"):]
    agent[agent.index("--"):] = ["--dry-run", "--json", "--", "true"]
    for index in range(nodes):
        plan = json.loads(run(agent, {"OMPI_COMM_WORLD_RANK": str(index), "OMPI_COMM_WORLD_SIZE":
                                      str(nodes * slots), "MST_JOB_SECRET_FILE": secret_path}))
        check((plan["nodes"], plan["node"]) == (nodes, index), f"{name}: {plan}")
        check(plan["ranks"][0]["env"]["MASTER_ADDR"] == hosts[0], f"{name}: {plan}")
    check_pod(pod, command, secret=False)
    check_pod(Pod(name, hosts[0], worker["template"]["spec"], {}), command)
    check(worker["template"]["spec"]["containers"][0]["lifecycle"]["preStop"], f"{name}: preStop")
    return []


def check_failure_policy(name, job):
    """Of a batch Job: the retried and the final exit codes, and preemption, are told apart."""
    rules = job["podFailurePolicy"]["rules"]
    template = job["template"]["spec"]
    check(template["restartPolicy"] == "Never", f"{name}: podFailurePolicy needs restartPolicy Never")
    check(job["podReplacementPolicy"] == "Failed", f"{name}: two pods of one index may live")
    check(job["activeDeadlineSeconds"] > 0, f"{name}: pods that never meet are ignored for ever")
    codes = {"Ignore": set(), "FailJob": set()}
    for rule in rules:
        on_codes = rule.get("onExitCodes")
        if on_codes:
            check(on_codes["containerName"] == template["containers"][0]["name"], f"{name}: {rule}")
            codes[rule["action"]] |= set(on_codes["values"])
    check(codes == {"Ignore": RETRIED, "FailJob": FINAL}, f"{name}: {codes}")
    # Of a batch Job "True" is the default; the CRDs of JobSet and Trainer have none.
    check(rules[0]["action"] == "Ignore" and
          rules[0]["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}],
          f"{name}: preemption counts")


def check_restricted(spec, where):
    """The Pod Security standard "restricted", and a root that nobody can write to."""
    of_pod = spec["securityContext"]
    check(of_pod["runAsNonRoot"], f"{where}: root")
    check(of_pod["seccompProfile"] == {"type": "RuntimeDefault"}, f"{where}: seccompProfile")
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        check(key not in spec, f"{where}: {key}")
    for volume in spec.get("volumes", []):
        kind = set(volume) - {"name"}
        check(kind <= {"emptyDir", "persistentVolumeClaim", "secret"}, f"{where}: a volume of {kind}")
    for container in spec["containers"]:
        check(container["securityContext"] ==
              {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
               "capabilities": {"drop": ["ALL"]}}, f"{where}: {container['name']}: securityContext")


def check_pod(pod, command, secret=True):
    spec, where = pod.spec, f"{pod.job}: {pod.name}"
    grace_s = int(option(command, "--grace"))
    check(spec["terminationGracePeriodSeconds"] >= grace_s + MARGIN_S, f"{where}: grace")
    check_restricted(spec, where)
    check(spec["automountServiceAccountToken"] is False, f"{where}: a token that nobody uses")
    find("PriorityClass", spec["priorityClassName"])
    mounts = {mount["name"]: mount for mount in pod.container.get("volumeMounts", [])}
    volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
    check(set(mounts) == set(volumes), f"{where}: volumes {set(volumes)}, mounts {set(mounts)}")
    check(mounts["tmp"]["mountPath"] == "/tmp" and "emptyDir" in volumes["tmp"], f"{where}: no /tmp")
    if secret:
        check(mounts["secret"]["mountPath"] == os.path.dirname(SECRET_FILE), f"{where}: secret")
        check(volumes["secret"]["secret"]["secretName"] == f"{pod.job}-secret",
              f"{where}: the secret is not {pod.job}-secret, the job's own")
        find("PersistentVolumeClaim", volumes["ckpt"]["persistentVolumeClaim"]["claimName"])
        ckpt = os.path.join(mounts["ckpt"]["mountPath"], pod.job)
        check(option(command, "--ckpt") == ckpt, f"{where}: --ckpt is not {ckpt}, the job's own")


def run(command, env, code=0):
    env = env | {"PATH": os.environ["PATH"]}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    check(done.returncode == code, f"exit {done.returncode}: {shlex.join(command)}: {done.stderr}")
    return done.stdout


def resolve(pod, options, code=0):
    env = pod.operator_env | pod.own_env() | {"HOSTNAME": pod.name}
    if "MST_JOB_SECRET_FILE" in env:
        env["MST_JOB_SECRET_FILE"] = secret_path
    return json.loads(run(["muster", "env", "--json", "--hostname", pod.name, "--local-gpus", "0",
                           *options], env, code))


def check_world(pod, rank, nodes, nproc, master):
    command = pod.command()
    check(command[:2] == ["muster", "run"], f"{pod.name}: {command}")
    check(pod.own_env()["MST_JOB_SECRET_FILE"] == SECRET_FILE, f"{pod.name}: MST_JOB_SECRET_FILE")
    answer = resolve(pod, command[2:command.index("--")])
    want = {"mode": "spawn", "nnodes": nodes, "node_rank": rank, "nproc_per_node": nproc,
            "world_size": nodes * nproc, "master_addr": master, "error": None}
    got = {key: answer[key] for key in want}
    check(got == want, f"{pod.name}: {got} instead of {want}")


def try_program(name, command):
    """Two steps of the very command, on one rank and with a folder of its own."""
    program = command[command.index("train_lm"):]
    program[program.index("--ckpt") + 1] = os.path.join(scratch, name)
    program[program.index("--steps") + 1] = "2"
    check("final step=2" in run(["muster", "run", "--nproc", "1", "--", *program], {}), f"{name}: end")


def find(kind, name):
    found = [doc for doc in documents
             if doc["kind"] == kind and doc["metadata"]["name"] == name]
    check(len(found) == 1, f"{len(found)} of {kind} {name}")
    return found[0]


def kustomization(folder):
    with open(os.path.join(folder, "kustomization.yaml")) as file:
        return yaml.safe_load(file)


def load(folder, names):
    loaded = []
    for name in names:
        with open(os.path.join(folder, name)) as file:
            loaded += yaml.safe_load_all(file)
    return loaded


kinds = {"PyTorchJob": pytorchjob, "TrainJob": trainjob, "MPIJob": mpijob, "JobSet": jobset,
         "Job": indexed_job}
images = {image["name"] for image in kustomization(os.path.join(manifests, "image"))["images"]}
base = os.path.join(manifests, "base")
tried = set()
for overlay in sorted(glob.glob(os.path.join(manifests, "overlays", "*"))):
    told = kustomization(overlay)
    files = {os.path.basename(path) for path in glob.glob(os.path.join(overlay, "*.yaml"))}
    check({"../../base", *files} - {"kustomization.yaml"} == set(told["resources"]),
          f"{overlay}: resources")
    check(told["components"] == ["../../image"], f"{overlay}: nobody says which image")
    documents = load(base, kustomization(base)["resources"])
    documents += load(overlay, files - {"kustomization.yaml"})
    for doc in documents:
        if doc["kind"] not in kinds:
            continue
        tried.add(doc["kind"])
        for rank, (pod, nodes, nproc, master) in enumerate(kinds[doc["kind"]](doc)):
            check(pod.container.get("image") in images, f"{pod.name}: image {pod.container.get('image')}")
            check_pod(pod, pod.command())
            check_world(pod, rank, nodes, nproc, master)
            if rank == 0 and os.path.exists(option(pod.command(), "--data")):
                try_program(pod.job, pod.command())
        print(f"{doc['kind']} {doc['metadata']['name']}: ok")
check(tried == set(kinds), f"no manifest of {set(kinds) - tried}")
