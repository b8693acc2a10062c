#!/usr/bin/env bash
# Builds the Dockerfile, starts the image and asks it for a page and a picture, on a Debian machine without a container engine:
# buildah with chroot isolation, and a base image made of Debian's own packages under the name that the Dockerfile asks for.
#
# Usage, as root: make docker-check, or bash tools/check_dockerfile.sh. Needs buildah, debootstrap, curl and 15 GB below TMPDIR
# (5 GB where pip finds a CPU build of torch). Leaves nothing behind; fails with the end of the log.
# What a particular machine needs comes through the environment:
#   PORT           the port to listen on (7860); choose another one where a page is open already
#   WORK           a folder to work in that is kept, so that the next run finds its base image (default: a new one, deleted at the end)
#   MIRROR         address of a Debian mirror (default: the one that apt uses here)
#   DRIVER         buildah's storage driver (default: overlay, or vfs where overlay does not work)
#   PIP_CONFIG     a pip.conf for the build, for example one that names a mirror or a folder of wheels
#   EXTRA_VOLUMES  folders the build may read: "/a:/a:ro /b:/b:ro", for example that folder, or the certificates of a proxy
#   START_SECONDS  how long the page may take to answer (180)
set -euo pipefail

project=$(cd "$(dirname "$0")/.." && pwd)
port=${PORT:-7860}
address=http://127.0.0.1:$port
image=localhost/latent-playground:check
keep_work=${WORK:+yes}
container=""
server=""
step="the start"
reason=""
log=""

say() { printf '%s\n' "$*"; }

fail() {
  reason=$*
  [ -n "$log" ] || say "$reason" >&2
  exit 1
}

stop_server() {
  [ -n "$server" ] || return 0
  # The page is a grandchild, in a process group of its own: setsid made one.
  kill -TERM -- "-$server" 2>/dev/null || true
  for _ in $(seq 50); do
    kill -0 -- "-$server" 2>/dev/null || break
    sleep 0.2
  done
  kill -KILL -- "-$server" 2>/dev/null || true
  wait "$server" 2>/dev/null || true
  server=""
}

clean_up() {
  local status=$?
  trap - EXIT INT TERM
  stop_server
  if [ "$status" -ne 0 ]; then
    tail -n 40 "$log" >&2
    say "FAILED at $step${reason:+: $reason}. Above is the end of the log." >&2
  fi
  # All, because an interrupted build leaves its own.
  build_tool rm --all >/dev/null 2>&1 || true
  if [ -n "$keep_work" ]; then build_tool rmi "$image" >/dev/null 2>&1 || true; else rm -rf --one-file-system "$work"; fi
  exit "$status"
}

build_tool() { buildah --root "$work/store" --runroot "$work/run" --storage-driver "$driver" "$@"; }

# Overlay is quick and small, but it is not allowed everywhere, for example not on top of another overlay.
choose_driver() {
  local try=(buildah --root "$work/probe" --runroot "$work/probe-run" --storage-driver overlay) probe
  driver=vfs
  if probe=$("${try[@]}" from scratch 2>>"$log") && "${try[@]}" mount "$probe" >>"$log" 2>&1; then driver=overlay; fi
  "${try[@]}" rm --all >>"$log" 2>&1 || true
  rm -rf --one-file-system "$work/probe" "$work/probe-run" 2>>"$log" || true
}

# The official base image is Debian with Python in /usr/local; Debian of the same name has the same Python 3 in /usr.
make_base() {
  local suite=$1 version=$2 root=$work/base mirror
  # shellcheck disable=SC2016 # $(SITE) is for apt
  mirror=${MIRROR:-$(apt-get indextargets --format '$(SITE)' "Codename: $suite" "Origin: Debian" | head -n 1)}
  debootstrap --variant=minbase --include=ca-certificates,python3,python3-pip,python3-venv \
    "$suite" "$root/rootfs" ${mirror:+"$mirror"} >>"$log" 2>&1
  [ -e "$root/rootfs/usr/bin/python$version" ] || fail "Debian $suite has no Python $version, so $name cannot be made of it"
  rm -f "$root"/rootfs/usr/lib/python3*/EXTERNALLY-MANAGED "$root"/rootfs/var/cache/apt/archives/*.deb
  rm -rf "$root"/rootfs/var/lib/apt/lists/*
  ln -s /usr/bin/python3 "$root/rootfs/usr/local/bin/python"
  ln -s /usr/bin/pip3 "$root/rootfs/usr/local/bin/pip"
  cat >"$root/Dockerfile" <<'BASE'
FROM scratch
COPY rootfs /
ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8
CMD ["python3"]
BASE
  build_tool bud --quiet --isolation chroot --tag "$base" "$root" >>"$log" 2>&1
  rm -rf --one-file-system "$root"
}

# Who listens on the port: address in hexadecimal, uid, inode of the socket; a line each.
listeners() {
  awk -v port=":$(printf %04X "$port")" '$4 == "0A" && substr($2, length($2) - 4) == port { sub(/:.*/, "", $2); print $2, $8, $10 }' \
    /proc/net/tcp /proc/net/tcp6
}

# Whether the process group of the server holds the socket with this inode.
is_ours() {
  local holder
  while read -r holder; do
    [ "$(sed 's/.*) //' "$holder/stat" 2>/dev/null | cut -d ' ' -f 3)" = "$server" ] && return 0
  done < <(find /proc/[0-9]*/fd -lname "socket:\[$1\]" 2>/dev/null | cut -d / -f 1-3 || true)
  return 1
}

# The process of the server's group that holds the socket with this inode.
pid_of() {
  local holder
  while read -r holder; do
    if [ "$(sed 's/.*) //' "$holder/stat" 2>/dev/null | cut -d ' ' -f 3)" = "$server" ]; then basename "$holder"; return 0; fi
  done < <(find /proc/[0-9]*/fd -lname "socket:\[$1\]" 2>/dev/null | cut -d / -f 1-3 || true)
  return 1
}

inside() { build_tool run --isolation chroot --env "PLAYGROUND_PORT=$port" "$container" -- "$@"; }

[ "$(id -u)" -eq 0 ] || fail "this needs root (debootstrap, chroot): sudo bash tools/check_dockerfile.sh"
for tool in buildah debootstrap curl; do
  command -v "$tool" >/dev/null || fail "$tool is missing: apt-get install buildah debootstrap curl"
done
[ -z "$(listeners)" ] || fail "port $port is taken; choose another one: PORT=…"

work=${WORK:-$(mktemp --directory --tmpdir check-dockerfile.XXXXXX)}
mkdir -p "$work"
log=$work/log
: >"$log"
driver=${DRIVER:-}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
[ -n "$driver" ] || choose_driver

step="the base image"
name=$(sed -n 's/^FROM  *\([^ ]*\).*/\1/p' "$project/Dockerfile" | tail -n 1)
base=docker.io/library/$name
version=${name#python:}
if [ -z "$(build_tool images --quiet "$base" 2>/dev/null)" ]; then
  say "Making $name from Debian packages ($driver) …"
  make_base "${name##*-}" "${version%%-*}"
fi

step="the build"
say "Building the image …"
volumes=()
for volume in ${EXTRA_VOLUMES:-}; do volumes+=(--volume "$volume"); done
if [ -n "${PIP_CONFIG:-}" ]; then volumes+=(--volume "$(realpath "$PIP_CONFIG"):/etc/pip.conf:ro"); fi
# Docker's format, because OCI's has no HEALTHCHECK.
build_tool bud --isolation chroot --pull-never --format docker "${volumes[@]}" --tag "$image" "$project" >>"$log" 2>&1

step="the image"
field() { build_tool inspect --type image --format "$1" "$image"; }
# shellcheck disable=SC2016 # $port and $_ are the template's
ports=$(field '{{range $port, $_ := .Docker.Config.ExposedPorts}}{{println $port}}{{end}}')
user=$(field '{{.Docker.Config.User}}')
case "${user%%:*}" in "" | 0 | root) fail "the image runs as root" ;; esac
grep -qx 7860/tcp <<<"$ports" || fail "7860 is not exposed"
mapfile -t start < <(field '{{range .Docker.Config.Entrypoint}}{{println .}}{{end}}{{range .Docker.Config.Cmd}}{{println .}}{{end}}' | sed '/^$/d')
mapfile -t health < <(field '{{with .Docker.Config.Healthcheck}}{{range .Test}}{{println .}}{{end}}{{end}}' | sed '/^$/d')
[ "${health[0]:-}" = CMD ] || fail "there is no HEALTHCHECK with a list of words"
size=$(build_tool images --format '{{.Size}}' "$image")
container=$(build_tool from --pull-never "$image")
uid=$(inside python -c 'import os; print(os.getuid())' 2>>"$log")
[ "$uid" -eq 1000 ] || fail "the image runs as uid $uid, not 1000"
inside python -c '
import os, tempfile, pathlib
for folder in (os.environ["HOME"], os.environ["HF_HOME"], tempfile.gettempdir()):
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=folder).close()
' >>"$log" 2>&1 || fail "HOME, HF_HOME or the temporary folder cannot be written"
say "Image: $size, user $user (uid $uid), starts ${start[*]}"

step="the page"
[ -z "$(listeners)" ] || fail "port $port was taken in the meantime; choose another one: PORT=…"
setsid buildah --root "$work/store" --runroot "$work/run" --storage-driver "$driver" \
  run --isolation chroot --env "PLAYGROUND_PORT=$port" "$container" -- "${start[@]}" >>"$log" 2>&1 </dev/null &
server=$!
get() { curl --silent --show-error --fail --noproxy '*' --max-time 60 "$address$1" "${@:2}"; }
begun=$SECONDS
until answer=$(get /playground/health 2>/dev/null); do
  kill -0 "$server" 2>/dev/null || fail "it stopped by itself"
  [ $((SECONDS - begun)) -lt "${START_SECONDS:-180}" ] || fail "no answer on port $port within ${START_SECONDS:-180} seconds"
  sleep 0.5
done
# A page of somebody else may have come to this port just now: only the image's own page counts.
read -r where owner inode <<<"$(listeners)"
is_ours "$inode" || fail "port $port was taken by another program; choose another one: PORT=…"
[ "$where" = 00000000 ] || fail "it does not listen on 0.0.0.0, so nobody outside the container could reach it"
[ "$owner" -eq 1000 ] || fail "the page runs as uid $owner, not 1000"
grep -q '"status": *"ok"' <<<"$answer" || fail "/playground/health says $answer"
say "Health after $((SECONDS - begun)) s: $answer"
inside "${health[@]:1}" >>"$log" 2>&1 || fail "the image's own HEALTHCHECK does not pass"
get / --output "$work/page.html" 2>>"$log" || fail "/ does not answer 200"
grep -qi '<html' "$work/page.html" || fail "/ is not a page"
grep -q 'Latent Playground' "$work/page.html" || fail "/ is not this page"
type=$(get '/playground/live?card=vae-fashion-28&task=sample' --output "$work/picture" --write-out '%{content_type}' 2>>"$log") ||
  fail "no sample could be drawn"
[ "$type" = image/png ] || fail "a sample is of type $type"
[ "$(head -c 8 "$work/picture" | od -An -tx1 | tr -d ' \n')" = 89504e470d0a1a0a ] || fail "a sample is no PNG file"
say "Page: $(wc -c <"$work/page.html") bytes; sample: $type, $(wc -c <"$work/picture") bytes"

step="readiness and figures"
until get /playground/ready >/dev/null 2>&1; do
  [ $((SECONDS - begun)) -lt "${START_SECONDS:-180}" ] || fail "it is not ready within ${START_SECONDS:-180} seconds"
  sleep 0.5
done
get /metrics --output "$work/metrics" 2>>"$log" || fail "/metrics does not answer"
grep -q '^playground_requests_total{.*outcome="done".*} [1-9]' "$work/metrics" || fail "/metrics does not count the sample"
say "Ready; $(grep -c '^playground_' "$work/metrics") figures"

step="the stop"
[ "$(field '{{.Docker.Config.StopSignal}}')" = SIGTERM ] || fail "there is no STOPSIGNAL SIGTERM"
long='/playground/picture.png?card=ddpm-fashion-28&task=sample&num_samples=16&num_inference_steps=100'
get "$long" --output "$work/long" 2>>"$log" &
asking=$!
until get /metrics 2>/dev/null | grep -q '^playground_running 1'; do
  kill -0 "$asking" 2>/dev/null || fail "a long request was never seen at work"
  sleep 0.1
done
page=$(pid_of "$inode")
kill -TERM "$page"
sleep 0.3
status=$(curl --silent --noproxy '*' --max-time 10 --output /dev/null --write-out '%{http_code}' "$address/playground/ready") || true
[ "$status" = 503 ] || fail "/playground/ready says $status while it stops, not 503"
wait "$asking" || fail "the request that was running got no answer"
[ "$(head -c 8 "$work/long" | od -An -tx1 | tr -d ' \n')" = 89504e470d0a1a0a ] || fail "the request that was running got no picture"
code=0
wait "$server" || code=$?
server=""
[ "$code" -eq 0 ] || fail "the page ended with status $code"
if listeners | grep -q " $inode$"; then fail "the page goes on after it was stopped"; fi
say "Stopped: the running request was answered, exit status 0"
say "The Dockerfile builds, and the image works (${SECONDS} s)."
