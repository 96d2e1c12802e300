# What bench-proxy and bench-chain have in common: options, peers, steps. To be sourced; `bench` is the name of who does.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
home=.tools/bench-proxy
here=tools/bench-proxy
out=target/$bench
loadtests=target/release/loadtests
mkdir -p "$home" target

say() { printf '%s: %s\n' "$bench" "$*" >&2; }

usage() {
    cat <<END
$bench: $title
  --quick           one short round
  --rounds N        how often each is measured with each case; the others come between (5)
  --seconds S       for how long each time (2.5)
  --servers A,B     only these: $servers
  --cases A,B       only these: $cases
  --profile         where each microsecond goes in Headgate's processes, by perf
  --soak            what grows over a million requests and a hundred thousand connections (some minutes)
Tables and figures land in $out.
END
}

rounds=5 seconds=2.5 only=() named=() profile= soak=
options() {
    while [ $# -gt 0 ]; do
        case $1 in
            --quick) rounds=1 seconds=1 ;;
            --rounds | --seconds | --servers | --cases)
                [ $# -gt 1 ] || { say "$1 wants a value"; exit 2; }
                case $1 in
                    --rounds) rounds=$2 ;;
                    --seconds) seconds=$2 ;;
                    --servers) only+=("$1" "$2") named+=("$1" "$2") ;;
                    --cases) only+=("$1" "$2") ;;
                esac
                shift ;;
            --profile) profile=yes ;;
            --soak) soak=yes ;;
            --help) usage; exit 0 ;;
            *) say "unknown: $1"; usage >&2; exit 2 ;;
        esac
        shift
    done
}

# Packages of the system that are missing; a peer that can't be had is left out by name later.
system_peers() {
    local missing=() program policy=/usr/sbin/policy-rc.d
    for program in "$@"; do
        PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v "$program" >/dev/null || missing+=("$program")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        say "please install: ${missing[*]} (on Debian: sudo apt-get install ${missing[*]})"
        return 0
    fi
    say "installing ${missing[*]}, once"
    # Debian's way to install a server without starting it.
    local ours=
    [ -e $policy ] || { ours=yes; printf '#!/bin/sh\nexit 101\n' >$policy; chmod +x $policy; }
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; } \
        >"$home/system.log" 2>&1 || say "  not installed: $(tail -n 1 "$home/system.log")"
    [ -z "$ours" ] || rm -f $policy
}

peers() {
    system_peers haproxy nginx
    tools/bench-serving/install "$bench" "$home" "$here/peers/envoy.txt"
}

# On which core the driver runs: the plan says.
driver() {
    local core
    core=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["driver"])' "$out/cores.json")
    if [ "$core" = None ]; then "$@"; else taskset -c "$core" "$@"; fi
}

measure() {
    driver "$loadtests" serving --plan "$out/plan.json" --logs "$out/logs" --json "$out/serving.json" \
        --rounds "$rounds" --seconds "$seconds" "${only[@]}" >"$out/serving.txt"
    python3 "$here/inside.py" "$out" "$loadtests" "$seconds" "${named[@]}"
}

more() {
    [ -z "$profile" ] || python3 "$here/rooms.py" "$out" "$loadtests" 5
    [ -z "$soak" ] || python3 "$here/soak.py" "$out" "$loadtests"
}
