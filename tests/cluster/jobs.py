"""Prints the job of k8s-manifests/overlays/pytorchjob as one of training-operator's other kinds, with
the same pods. Usage: jobs.py JOB.yaml elastic|workers|tfjob|xgboostjob|paddlejob|mpijob-v1"""
import copy
import sys

import yaml

path, kind = sys.argv[1:]
with open(path) as file:
    job = yaml.safe_load(file)
template = job["spec"]["pytorchReplicaSpecs"]["Master"]["template"]
job_name = job["metadata"]["name"]
job["metadata"]["name"] += f"-{kind}"


def replica(container, count=1, program=None, nproc=2):
    """`program` is what runs in place of the training, in a pod beside the world."""
    pod = copy.deepcopy(template)
    node = pod["spec"]["containers"][0]
    node["name"] = container
    node["args"] = [arg.replace(f"/ckpt/{job_name}", f"/ckpt/{job_name}-{kind}") for arg in node["args"]]
    if nproc:
        node["command"][2:2] = ["--nproc", str(nproc)]
    if program:
        node["args"] = program
    for volume in pod["spec"]["volumes"]:
        if volume["name"] == "secret":
            volume["secret"]["secretName"] = f"{job_name}-{kind}-secret"
    return {"replicas": count, "restartPolicy": "ExitCode", "template": pod}


forever = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1; done"]
if kind == "elastic":
    job["spec"] = {
        "elasticPolicy": {"rdzvBackend": "c10d", "minReplicas": 2, "maxReplicas": 2, "nProcPerNode": 2},
        "pytorchReplicaSpecs": {"Worker": replica("pytorch", 2, nproc=0)}}
elif kind == "workers":
    job["spec"] = {"nprocPerNode": "2",
                   "pytorchReplicaSpecs": {"Worker": replica("pytorch", 2, nproc=0)}}
elif kind == "tfjob":
    job["kind"] = "TFJob"
    job["spec"] = {"tfReplicaSpecs": {
        "Chief": replica("tensorflow"), "Worker": replica("tensorflow"),
        "PS": replica("tensorflow", 1, forever), "Evaluator": replica("tensorflow", 1, forever)}}
elif kind == "xgboostjob":
    job["kind"] = "XGBoostJob"
    job["spec"] = {"xgbReplicaSpecs": {"Master": replica("xgboost"), "Worker": replica("xgboost")}}
elif kind == "paddlejob":
    job["kind"] = "PaddleJob"
    job["spec"] = {"paddleReplicaSpecs": {"Worker": replica("paddle", 2)}}
elif kind == "mpijob-v1":
    # The workers' pods have no names that resolve: the launcher, which may look at pods, asks for the
    # address of the one in which mpirun starts agent 0.
    job["kind"] = "MPIJob"
    launcher, worker = replica("mpi", nproc=0), replica("mpi", 2, forever)
    node = launcher["template"]["spec"]["containers"][0]
    first = job["metadata"]["name"] + "-worker-0"
    node["command"] = ["sh", "-c", f"""
kubectl=/opt/kube/kubectl
$kubectl wait --for=condition=Ready pod -l training.kubeflow.org/replica-type=worker --timeout=100s
address=$($kubectl get pod {first} -o 'jsonpath={{.status.podIP}}')
exec mpirun --bind-to none -x MST_JOB_SECRET_FILE=/run/muster/secret \
    sh -c 'exec muster run --from none --nnodes "$OMPI_COMM_WORLD_SIZE" \
        --node-rank "$OMPI_COMM_WORLD_RANK" "$@"' muster --nproc 2 --rdzv "$address:29500" "$@"
""", "launcher", "--grace", "100", "--max-restarts", "3", "--"]
    del launcher["template"]["spec"]["automountServiceAccountToken"]
    worker["template"]["spec"]["containers"][0]["command"] = []
    launcher["restartPolicy"] = worker["restartPolicy"] = "Never"
    job["spec"] = {"slotsPerWorker": 1, "mpiReplicaSpecs": {"Launcher": launcher, "Worker": worker}}
    for role in launcher, worker:
        role["template"]["spec"]["containers"][0]["image"] += "-mpi"
else:
    sys.exit(f"jobs.py: no kind {kind}")
print(yaml.safe_dump(job))
