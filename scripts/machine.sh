# Sourced by ./test and ./demo: what must be on this machine, and the crates.

# Rust is often installed for one user only, and dpkg wants the system's own programs; a bare environment names neither.
PATH="${PATH:-/usr/bin:/bin}:/usr/local/sbin:/usr/sbin:/sbin:"~/.cargo/bin
export PATH

say() { printf '== %s\n' "$*" >&2; }

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

command -v cargo >/dev/null || fail "Rust is missing (cargo). Install it with rustup, https://rustup.rs, and start again."

# Whether this program can be used.
have() {
    case $1 in
        # Debian's smallest perl lacks the modules with which OpenSSL is built.
        perl) perl -MIPC::Cmd -MFile::Compare -e 1 ;;
        initdb) command -v initdb || ls /usr/lib/postgresql/*/bin/initdb ;;
        *) command -v "$1" ;;
    esac >/dev/null 2>&1
}

# The Debian package of this program.
package() {
    case $1 in
        initdb) echo postgresql ;;
        psql) echo postgresql-client ;;
        java) echo openjdk-17-jre-headless ;;
        mvn) echo maven ;;
        flock) echo util-linux ;;
        xz) echo xz-utils ;;
        *) echo "$1" ;;
    esac
}

# need PROGRAM...: root gets the packages of those that are missing, anybody else is told which they are.
need() {
    local program packages=()
    for program in "$@"; do
        have "$program" || packages+=("$(package "$program")")
    done
    [ ${#packages[@]} -gt 0 ] || return 0

    command -v apt-get >/dev/null || fail "Missing on this machine, by the names of Debian's packages: ${packages[*]}"
    if [ "$(id -u)" -ne 0 ]; then
        fail "Missing on this machine. As root, run:" "  apt-get update && apt-get install --no-install-recommends ${packages[*]}"
    fi

    say "Installing ${packages[*]}"
    # Only the server's programs are wanted: without this the package creates a database cluster and starts it.
    local no_cluster=/etc/postgresql-common/createcluster.d/cdc-notifier.conf
    mkdir -p "${no_cluster%/*}"
    echo 'create_main_cluster = false' >"$no_cluster"
    export DEBIAN_FRONTEND=noninteractive
    local code=0
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${packages[@]}"; } </dev/null >&2 || code=$?
    rm -f "$no_cluster"
    [ "$code" -eq 0 ] || fail "apt-get could not install ${packages[*]}; its messages are above."
}

# The crates of Cargo.lock, for this kind of machine. Once they are here, cargo stays off the network.
crates() {
    local host
    host=$(rustc -vV | sed -n 's/^host: //p')
    if ! cargo fetch --locked --offline --target "$host" >/dev/null 2>&1; then
        say "Fetching the crates"
        cargo fetch --locked --target "$host"
    fi
    export CARGO_NET_OFFLINE=true
}
