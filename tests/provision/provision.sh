#!/usr/bin/env bash
# Brings the software that nobody here wrote onto this machine: PostgreSQL and Chromium from
# Debian, clients and servers from PyPI, npm and crates.io at the exact versions pinned beside this
# file and in tests/real/rmcp.
#
# Everything but the Debian packages goes into a cache outside the clone, named after the pins, so
# that a changed pin makes a new cache and an old clone keeps its own. Safe to run twice at once
# (a lock) and again after an interruption (a part counts only with its mark).
#
# Prints the path of an env.sh on the last line of stdout; all else goes to stderr.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
rmcp=$here/../real/rmcp
pins=$(cd "$here" && cat provision.sh python/*.txt node/package.json node/package-lock.json \
  "$rmcp"/Cargo.toml "$rmcp"/Cargo.lock "$rmcp"/src/main.rs | sha256sum | cut -c1-16)
cache="${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/placet-tests/$pins"
mkdir -p "$cache"
exec 3>&1 1>&2
exec 9>"$cache/lock"
flock 9

say() { printf 'provision: %s\n' "$*"; }
die() {
  say "$*"
  exit 1
}

postgres_bin() {
  local initdb
  for initdb in /usr/lib/postgresql/*/bin/initdb "$(command -v initdb || true)"; do
    [ -x "$initdb" ] && dirname "$(readlink -f "$initdb")" && return 0
  done
  return 1
}

# Debian packages this machine lacks. Tools are looked for, not packages: whoever has them from
# elsewhere needs no apt and no root.
missing=()
postgres_bin >/dev/null || missing+=(postgresql)
command -v chromium >/dev/null || missing+=(chromium)
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
command -v npm >/dev/null || missing+=(npm)
command -v openssl >/dev/null || missing+=(openssl)
command -v git >/dev/null || missing+=(git)
command -v faketime >/dev/null || missing+=(faketime)
if [ ${#missing[@]} -gt 0 ]; then
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null \
    || die "missing: ${missing[*]} (not root, or no apt here: install them yourself, then run again)"
  say "apt-get install ${missing[*]}"
  # No cluster of the system's own: the tests start and stop theirs.
  mkdir -p /etc/postgresql-common
  [ -e /etc/postgresql-common/createcluster.conf ] \
    || echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
  export DEBIAN_FRONTEND=noninteractive
  # One retry: a mirror may drop a connection.
  { apt-get -q update && apt-get -q -o DPkg::Lock::Timeout=120 install -y --no-install-recommends "${missing[@]}"; } </dev/null \
    || { sleep 3; apt-get -q update && apt-get -q -o DPkg::Lock::Timeout=120 install -y --no-install-recommends "${missing[@]}"; } </dev/null \
    || die "apt-get could not install ${missing[*]}; ./tests/run --quick needs none of it"
fi

part() { # part NAME COMMAND...: runs the command in $cache/NAME unless that was done before
  local name=$1
  shift
  [ -e "$cache/$name/.done" ] && return 0
  rm -rf "${cache:?}/$name"
  mkdir -p "$cache/$name"
  say "$name"
  ("$@" "$cache/$name" </dev/null) || die "$name could not be installed (network?); ./tests/run --quick needs none of it"
  touch "$cache/$name/.done"
}

venv() { # venv PINS DIRECTORY
  python3 -m venv "$2"
  "$2/bin/python" -m pip install --quiet --no-input --disable-pip-version-check --retries 3 -r "$here/python/$1.txt"
}

node_packages() {
  cp "$here/node/package.json" "$here/node/package-lock.json" "$1"
  (cd "$1" && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error)
  # Shown, so that a package for another processor fails here and not in a test.
  "$1"/node_modules/node-linux-*/bin/node --version
}

rmcp_client() { # The client built on rmcp; all but the program is thrown away.
  cargo build --quiet --locked --manifest-path "$rmcp/Cargo.toml" --target-dir "$1/target"
  mv "$1/target/debug/client-rmcp" "$1/"
  rm -rf "$1/target"
}

# The known faults of crates, as they were listed at one commit. Where that can't be had, the rest
# goes on and the check is skipped.
advisories() {
  local directory=$1/advisory-db-3157b0e258782691 # as cargo-deny calls it, by its address
  git init --quiet "$directory"
  GIT_TERMINAL_PROMPT=0 timeout 60 git -C "$directory" fetch --quiet --depth 1 \
    https://github.com/rustsec/advisory-db bf5c0d245a92671908518d7e765914d437954ed6 \
    && git -C "$directory" checkout --quiet FETCH_HEAD
}

part node node_packages
part rmcp rmcp_client
for name in tools mcp1 mcp2 fastmcp aws drivers deny; do
  part "python-$name" venv "$name"
done
(part advisories advisories) || say 'the advisories of crates are not looked at'

node=$(echo "$cache"/node/node_modules/node-linux-*/bin/node)
cat >"$cache/env.sh.new" <<EOF
export PLACET_REAL_NODE='$node'
export PLACET_REAL_NODE_MODULES='$cache/node/node_modules'
export PLACET_REAL_VENVS='$cache'
export PLACET_REAL_RMCP='$cache/rmcp/client-rmcp'
export PLACET_REAL_CHROMIUM='$(command -v chromium)'
export PLACET_REAL_POSTGRES_BIN='$(postgres_bin)'
export PLACET_REAL_ADVISORIES='$([ ! -e "$cache/advisories/.done" ] || echo "$cache/advisories")'
command -v cargo-deny >/dev/null || export PATH="\$PATH:$cache/python-deny/bin"
EOF
mv "$cache/env.sh.new" "$cache/env.sh"
say "ready in $cache"
echo "$cache/env.sh" >&3
