#!/usr/bin/env bash
#SBATCH --job-name=raydm
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=1
#SBATCH --time=04:00:00
# One Slurm job is one Ray cluster: a head on the first node, workers on the others, one command, and all ends with it.
# Tokens and TLS are made for this job alone, and removed with it.
#
# Edit: the #SBATCH lines above (GPUs: remove the line where there are none), and RAYDM_VENV, the environment that was
#   made by: python3.11 -m venv VENV && VENV/bin/pip install -c constraints.txt .
# Start and submit, in the root of raydm's sources, which all nodes see (as they see your home folder):
#   RAYDM_VENV=~/raydm-venv sbatch --nodes 4 clusters/slurm.sh raydm value digits --noise 0.2 --actors 16 --gpus-per-actor 0.25
#   RAYDM_VENV=~/raydm-venv sbatch clusters/slurm.sh python jobs/value.py digits --noise 0.2 --actors 8
# Or a cluster to submit to: `sbatch clusters/slurm.sh sleep infinity`; its output says how, with its own numbers:
#   ssh -N -L 8265:127.0.0.1:PORT FIRST-NODE      then: ray job submit --address http://127.0.0.1:8265 ...
# Stop: scancel JOBID (or the command's end).
#
# Ports: Slurm may put two jobs on one node, so the three fixed ports come from the job's number, and the system draws
# the others. Never `ray stop` here: it would end the Ray of your other jobs on the node.
set -euo pipefail
umask 077

[ $# -gt 0 ] || { echo "slurm.sh: name a command, for example: raydm value digits --noise 0.2 --actors 8" >&2; exit 1; }
job=${SLURM_JOB_ID:?slurm.sh runs below sbatch}
if [ -n "${RAYDM_VENV:-}" ]; then
  # shellcheck disable=SC1091
  source "$RAYDM_VENV/bin/activate"
fi
command -v ray >/dev/null || { echo "slurm.sh: ray is not on PATH: set RAYDM_VENV" >&2; exit 1; }

RAYDM_HOME=${RAYDM_HOME:-$SLURM_SUBMIT_DIR} # sbatch runs a copy of this script, so its own folder does not help
RAYDM_SECRETS=$HOME/.raydm/slurm-$job
RAYDM_PORT=$((10000 + job % 200 * 100))
export RAYDM_HOME RAYDM_SECRETS RAYDM_PORT
unset RAY_AUTH_TOKEN
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$RAYDM_SECRETS/auth_token
export RAY_USE_TLS=1 RAY_TLS_CA_CERT=$RAYDM_SECRETS/ca.crt
export RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=0 # Slurm ends what is slow to end
export RAY_DASHBOARD_STARTUP_TIMEOUT_S=240     # packages on a shared file system load slowly

# On a node: a certificate, Ray until it is told to end, and nothing left behind. $1: its place, 0 is the head.
start_node() {
  local where here # the trap below needs the others after the function, too
  ray_pid=''
  # Short: Ray's sockets lie below it, and their paths may have 107 bytes. Ray opens its own folder to everybody, hence
  # one inside.
  temp=$(mktemp -d "/tmp/raydm-$SLURM_JOB_ID-XXXXXX")
  # shellcheck disable=SC2317,SC2329 # the trap calls it
  end_node() {
    trap '' INT TERM
    [ -z "$ray_pid" ] || { kill -TERM "$ray_pid" 2>/dev/null && wait "$ray_pid" 2>/dev/null; } || true
    for _ in $(seq 50); do # the last of Ray's processes may still write there
      rm -rf "$temp" 2>/dev/null && break
      sleep 0.2
    done
  }
  trap end_node EXIT
  trap 'trap "" INT TERM; exit 143' INT TERM # a second signal must not cut short what the first one began
  here=$(hostname -I | cut -d' ' -f1)
  "$RAYDM_HOME/clusters/secrets.sh" node "$RAYDM_SECRETS" "$temp/tls"
  export RAY_TLS_SERVER_CERT=$temp/tls/tls.crt RAY_TLS_SERVER_KEY=$temp/tls/tls.key
  if [ "$1" = 0 ]; then
    where=(--head --port="$RAYDM_PORT" --dashboard-host=127.0.0.1 --dashboard-port=$((RAYDM_PORT + 1))
      --ray-client-server-port=$((RAYDM_PORT + 2)))
  else
    where=(--address="$RAYDM_HEAD:$RAYDM_PORT")
  fi
  ray start --block "${where[@]}" --node-ip-address="$here" --dashboard-agent-listen-port=0 \
    --min-worker-port=0 --max-worker-port=0 --temp-dir="$temp/ray" --disable-usage-stats \
    --num-cpus="${SLURM_CPUS_PER_TASK:-1}" --num-gpus="${SLURM_GPUS_ON_NODE:-0}" &
  ray_pid=$!
  wait "$ray_pid"
}

# On the head's node: a command that may join the cluster.
as_driver() {
  if [ -z "${tls:-}" ]; then
    tls=$(mktemp -d "/tmp/raydm-$SLURM_JOB_ID-XXXXXX")
    trap 'rm -rf "$tls"' EXIT
    trap 'trap "" INT TERM; exit 143' INT TERM
    "$RAYDM_HOME/clusters/secrets.sh" node "$RAYDM_SECRETS" "$tls"
    export RAY_TLS_SERVER_CERT=$tls/tls.crt RAY_TLS_SERVER_KEY=$tls/tls.key RAY_ADDRESS=$RAYDM_HEAD:$RAYDM_PORT
  fi
  "$@"
}

# Until so many nodes have joined; raydm refuses at once what the cluster cannot place.
wait_for_nodes() {
  python - "$1" <<'END'
import sys, time
import ray

deadline, wanted = time.monotonic() + 300, int(sys.argv[1])
while not ray.is_initialized():
    try:
        ray.init(logging_level="ERROR", log_to_driver=False)  # at RAY_ADDRESS
    except (ConnectionError, RuntimeError):  # its port is open before it is ready
        if time.monotonic() > deadline:
            raise
        time.sleep(1)
while (alive := sum(node["Alive"] for node in ray.nodes())) < wanted:
    if time.monotonic() > deadline:
        sys.exit(f"slurm.sh: {alive} of {wanted} nodes joined in 5 minutes")
    time.sleep(1)
END
}
export -f start_node as_driver wait_for_nodes

steps=()
finish() {
  trap '' INT TERM
  for step in "${steps[@]}"; do kill -TERM "$step" 2>/dev/null || true; done # srun hands it on to its node
  for step in "${steps[@]}"; do wait "$step" 2>/dev/null || true; done
  rm -rf "$RAYDM_SECRETS"
}
trap finish EXIT
trap 'trap "" INT TERM; exit 143' INT TERM

rm -rf "$RAYDM_SECRETS" # of this job, before Slurm put it back into the queue
"$RAYDM_HOME/clusters/secrets.sh" make "$RAYDM_SECRETS"
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
# --overlap: steps that share a node; the CPUs must be named again, since srun no longer takes them from sbatch. Not a
# function: in the background it would be a shell that a signal ends without its srun.
on_node=(srun --overlap --nodes=1 --ntasks=1 --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" -w)
# The first address of the head's node; where a cluster has several networks, name the fast one here and in start_node
RAYDM_HEAD=$("${on_node[@]}" "${nodes[0]}" hostname -I | cut -d' ' -f1)
export RAYDM_HEAD

"${on_node[@]}" "${nodes[0]}" bash -c 'set -euo pipefail; start_node 0' &
steps+=($!)
for _ in $(seq 600); do
  if (exec 3<>"/dev/tcp/$RAYDM_HEAD/$RAYDM_PORT") 2>/dev/null; then break; fi
  kill -0 "${steps[0]}" 2>/dev/null || { echo "slurm.sh: the head did not start" >&2; exit 1; }
  sleep 0.5
done
"${on_node[@]}" "${nodes[0]}" bash -c 'set -euo pipefail; as_driver wait_for_nodes 1'
for ((i = 1; i < ${#nodes[@]}; i++)); do
  "${on_node[@]}" "${nodes[$i]}" bash -c "set -euo pipefail; start_node $i" &
  steps+=($!)
done

cat >&2 <<END
slurm.sh: the head is ${nodes[0]} ($RAYDM_HEAD:$RAYDM_PORT). To submit from a machine that sees your home folder:
  ssh -N -L 8265:127.0.0.1:$((RAYDM_PORT + 1)) ${nodes[0]} &
  export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$RAYDM_SECRETS/auth_token
  ray job submit --address http://127.0.0.1:8265 --working-dir . -- python jobs/value.py digits --noise 0.2
END
# shellcheck disable=SC2016 # the words are for the shell on the node
"${on_node[@]}" "${nodes[0]}" bash -c 'set -euo pipefail; as_driver wait_for_nodes "$1"; shift; as_driver "$@"' \
  command "$SLURM_JOB_NUM_NODES" "$@"
