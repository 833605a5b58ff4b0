#!/usr/bin/env bash
# A Ray cluster on this machine alone, in the foreground, with token authentication: on its CPUs, or with its GPUs too.
#
# Edit: nothing. Install first: pip install -c constraints.txt .
# Start (CPUs):     clusters/one-machine.sh
# Start (one GPU):  clusters/one-machine.sh --gpus 1
#   --cpus N  --gpus N  --port P (6379)  --dashboard-port P (8265)  --folder F (~/.raydm/one-machine: token and env)
# Submit, in another terminal (the script prints the same with its own numbers):
#   source ~/.raydm/one-machine/env
#   raydm value digits --noise 0.2 --actors 2 --address 127.0.0.1:6379                # the driver runs here
#   raydm value digits --noise 0.2 --actors 4 --gpus-per-actor 0.25 --address 127.0.0.1:6379   # four actors on one GPU
#   ray job submit --address http://127.0.0.1:8265 --working-dir . -- python jobs/value.py digits --noise 0.2
#   raydm submit value digits --noise 0.2 --address http://127.0.0.1:8265             # the same, in raydm's words
# Stop: Ctrl-C, or kill the script (SIGTERM). It ends its own processes and no others: `ray stop` would also end other
# clusters of yours. Its temporary folder goes, the token stays for the next start.
#
# The dashboard and the Jobs interface listen on loopback. Ray's own ports do not (it binds them to every interface, and
# --node-ip-address=127.0.0.1 does not change that): they ask for the token, but keep a firewall before this machine.
set -euo pipefail
umask 077

die() {
  echo "one-machine.sh: $*" >&2
  exit 1
}

cpus='' gpus=0 port=6379 dashboard=8265 folder=$HOME/.raydm/one-machine
while [ $# -gt 0 ]; do
  [ $# -ge 2 ] || die "$1 needs a value (see the head of this file)"
  case $1 in
    --cpus) cpus=$2 ;;
    --gpus) gpus=$2 ;;
    --port) port=$2 ;;
    --dashboard-port) dashboard=$2 ;;
    --folder) folder=$2 ;;
    *) die "$1 is not an option (see the head of this file)" ;;
  esac
  shift 2
done
for number in "${cpus:-0}" "$gpus" "$port" "$dashboard"; do
  case $number in '' | *[!0-9]*) die "'$number' is not a number" ;; esac
done

command -v ray >/dev/null || die "ray is not on PATH: pip install -c constraints.txt ."
if [ "$gpus" -gt 0 ]; then # Ray believes any number, and actors would fail later
  found=$(nvidia-smi -L 2>/dev/null | grep -c '^GPU ' || true)
  [ "$found" -ge "$gpus" ] || die "--gpus $gpus, but nvidia-smi finds ${found:-0} on this machine"
fi
for wanted in "$port" "$dashboard"; do
  if (exec 3<>"/dev/tcp/127.0.0.1/$wanted") 2>/dev/null; then
    die "port $wanted is in use, perhaps by another Ray. Name another one (--port, --dashboard-port)"
  fi
done

mkdir -p "$folder"
[ -s "$folder/auth_token" ] || openssl rand -hex 32 | tr -d '\n' >"$folder/auth_token"
chmod 600 "$folder/auth_token"
unset RAY_AUTH_TOKEN RAY_ADDRESS # would be taken before the file, and before what is started here
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$folder/auth_token
export RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=0 # nobody to hand work over to
export RAY_DASHBOARD_STARTUP_TIMEOUT_S=240     # it is slow where all cores are taken

# Short: Ray's sockets lie below it, and their paths may have 107 bytes. Ray opens its own folder to everybody, so it is
# a folder inside one that is not.
ray_pid='' temp=$(mktemp -d /tmp/raydm-XXXXXX)
finish() {
  trap '' INT TERM
  if [ -n "$ray_pid" ]; then
    kill -TERM "$ray_pid" 2>/dev/null || true # `ray start --block` then ends what it started
    for _ in $(seq 100); do
      kill -0 "$ray_pid" 2>/dev/null || break
      sleep 0.2
    done
    kill -KILL "$ray_pid" 2>/dev/null || true # its reaper ends the rest
    wait "$ray_pid" 2>/dev/null || true
  fi
  rm -f "$folder/env"
  for _ in $(seq 50); do # the last of Ray's processes may still write there
    rm -rf "$temp" 2>/dev/null && break
    sleep 0.2
  done
}
trap finish EXIT
# A second signal must not cut short what the first one began
trap 'trap "" INT TERM; exit 130' INT
trap 'trap "" INT TERM; exit 143' TERM

# Ports that are 0 are drawn by the system: two clusters on one machine do not meet. Ray always opens its client port,
# which nothing of ours uses.
client=$(python -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])')
touch "$temp/start.log"
ray start --head --block --port="$port" --dashboard-host=127.0.0.1 --dashboard-port="$dashboard" \
  --dashboard-agent-listen-port=0 --ray-client-server-port="$client" --min-worker-port=0 --max-worker-port=0 \
  --num-gpus="$gpus" ${cpus:+--num-cpus="$cpus"} --temp-dir="$temp/ray" --disable-usage-stats >"$temp/start.log" 2>&1 &
ray_pid=$!
for _ in $(seq 1500); do
  grep -q "Ray runtime started" "$temp/start.log" && break
  kill -0 "$ray_pid" 2>/dev/null || die "Ray did not start: $(tail -n 20 "$temp/start.log")"
  sleep 0.2
done
grep -q "Ray runtime started" "$temp/start.log" || die "Ray did not start in 5 minutes: $(tail -n 20 "$temp/start.log")"

cat >"$folder/env" <<END
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH='$folder/auth_token'
export RAY_API_SERVER_ADDRESS=http://127.0.0.1:$dashboard
END
cat <<END
Ray is up: ${cpus:-all} CPUs, $gpus GPUs. In another terminal:
  source '$folder/env'
  raydm value digits --noise 0.2 --actors 2 --address 127.0.0.1:$port
  ray job submit --address http://127.0.0.1:$dashboard --working-dir . -- python jobs/value.py digits --noise 0.2
Dashboard: http://127.0.0.1:$dashboard (it asks for the token in $folder/auth_token)
Stop: Ctrl-C, or kill $$
END
wait "$ray_pid" || die "Ray ended: $(tail -n 20 "$temp/start.log")"
