#!/usr/bin/env bash
# A PostgreSQL of the tests' own: `postgres.sh start DIR` prints its URL, `postgres.sh stop DIR`
# ends it and removes DIR. Loopback only, any password, nothing kept on disk for long (fsync off).
# Needs PLACET_REAL_POSTGRES_BIN (from env.sh). The server refuses root, so root hands it to nobody.
set -euo pipefail

bin=${PLACET_REAL_POSTGRES_BIN:?source the env.sh that provision.sh names first}
dir=${2:?usage: postgres.sh start|stop DIR}
if [ "$(id -u)" = 0 ]; then as() { (cd / && runuser -u nobody -- "$@"); }; else as() { "$@"; }; fi

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

case ${1:-} in
  start)
    mkdir -p "$dir"
    [ "$(id -u)" != 0 ] || chown nobody "$dir"
    as "$bin/initdb" -D "$dir/data" -U postgres -A trust --no-sync -E UTF8 --locale=C >"$dir.initdb.log" 2>&1 \
      || { cat "$dir.initdb.log" >&2; exit 1; }
    rm -f "$dir.initdb.log"
    # Someone else may take the port between asking and binding: a few tries.
    for _ in 1 2 3; do
      port=$(free_port)
      if as "$bin/pg_ctl" -D "$dir/data" -w -t 60 -l "$dir/log" \
        -o "-c listen_addresses=127.0.0.1 -p $port -c unix_socket_directories= -c fsync=off -c max_connections=300" \
        start >/dev/null 2>&1 </dev/null 3>&- 9>&-; then
        echo "postgres://postgres@127.0.0.1:$port/postgres"
        exit 0
      fi
    done
    cat "$dir/log" >&2
    exit 1
    ;;
  stop)
    [ ! -e "$dir/data/postmaster.pid" ] || as "$bin/pg_ctl" -D "$dir/data" -m immediate -w -t 30 stop >/dev/null
    rm -rf "$dir"
    ;;
  *)
    echo "usage: postgres.sh start|stop DIR" >&2
    exit 2
    ;;
esac
