#!/usr/bin/env bash
# Fetches PostgreSQL's own regression SQL: prints the directory that holds <major>/src/test/regress.
# Sources come from Debian's source packages (15 bookworm, 17 trixie, 18 sid) by an apt whose
# configuration, lists and cache are private; of the system's own only the mirror's address is used.
# A version that the mirror announces and does not hold gives way to the newest before it.
source "$(dirname "$0")/common.sh"
DESTINATION=${POSTGRES_SOURCE_DIR:-/var/tmp/strata-postgres-source}
APT=$DESTINATION/apt
declare -A SUITES=([15]=bookworm [17]=trixie [18]=sid)

private_apt() {
    local program=$1
    shift
    APT_CONFIG=$APT/apt.conf "$program" "$@"
}

configure_apt() {
    mkdir -p "$APT"/{lists/partial,cache/archives/partial,state,etc}
    : >"$APT/state/status"
    cat >"$APT/apt.conf" <<CONF
Dir::Etc "$APT/etc/";
Dir::Etc::SourceList "$APT/etc/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Parts "/dev/null";
Dir::State "$APT/state/";
Dir::State::Lists "$APT/lists/";
Dir::State::Status "$APT/state/status";
Dir::Cache "$APT/cache/";
APT::Architecture "$(dpkg --print-architecture)";
APT::Sandbox::User "root";
Acquire::Languages "none";
# A mirror may lag; what is fetched are sources to test against, not software to run.
Acquire::Check-Valid-Until "false";
CONF
    local mirror security suite
    # Where this system has its own packages from.
    mirror=$(system_mirrors | grep -v security | head -n 1)
    security=$(system_mirrors | grep security | head -n 1)
    [ -n "$mirror" ] || die "apt has no package lists; run 'apt-get update' first"
    : >"$APT/etc/sources.list"
    for suite in "${SUITES[@]}"; do
        add_source "$mirror" "$suite"
        # The suite that is not released yet has neither.
        [ "$suite" != sid ] || continue
        add_source "$mirror" "$suite-updates"
        [ -z "$security" ] || add_source "$security" "$suite-security"
    done
}

system_mirrors() {
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -i debian | sort -u
}

add_source() {
    local keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    echo "deb-src [signed-by=$keyring] $1 $2 main" >>"$APT/etc/sources.list"
}

# Every version of the source package that any of the suites announces, the newest first.
announced_versions() {
    private_apt apt-cache showsrc --only-source "postgresql-$1" | sed -n 's/^Version: //p' | sort -Vru
}

# A mirror that lags holds the point release before the one it announces. No list vouches for that
# file, so it comes by HTTPS or not at all.
fetch_unannounced() { # major, directory
    local mirror upstream minor name
    mirror=$(system_mirrors | grep -v security | head -n 1)
    mirror=${mirror%/}
    upstream=$(announced_versions "$1" | head -n 1)
    upstream=${upstream%%-*}
    for ((minor = ${upstream#*.} - 1; minor >= 0; minor--)); do
        name=postgresql-$1_$1.$minor.orig.tar.bz2
        if curl -sfL --proto-redir =https -o "$2/$name" "${mirror/#http:/https:}/pool/main/p/postgresql-$1/$name"; then
            say "Taking $1.$minor" >&2
            echo "$2/$name"
            return
        fi
    done
}

fetch() {
    local major=$1 download=$DESTINATION/download-$1 version archive=
    for version in $(announced_versions "$major"); do
        rm -rf "$download"
        mkdir -p "$download"
        # A mirror may announce a version that it does not hold; an older one does as well here.
        if (cd "$download" && private_apt apt-get -qq source --download-only "postgresql-$major=$version" >&2); then
            archive=$(find "$download" -name "postgresql-${major}_*.orig.tar.*" ! -name '*.asc')
            break
        fi
        say "The mirror does not hold version $version" >&2
    done
    [ -n "$archive" ] || archive=$(fetch_unannounced "$major" "$download")
    if [ -z "$archive" ]; then
        say "The sources of PostgreSQL $major are not to be had: its tests take those of the nearest version" >&2
        rm -rf "$download"
        return
    fi
    mkdir -p "$DESTINATION/$major.new"
    tar -xf "$archive" -C "$DESTINATION/$major.new" --strip-components=1 --wildcards \
        '*/src/test/regress/*' '*/COPYRIGHT'
    mv "$DESTINATION/$major.new" "$DESTINATION/$major"
    rm -rf "$download"
}

missing=()
for major in "${!SUITES[@]}"; do
    [ -d "$DESTINATION/$major/src/test/regress" ] || missing+=("$major")
done
if [ ${#missing[@]} -gt 0 ]; then
    say "Fetching the sources of PostgreSQL ${missing[*]} into $DESTINATION" >&2
    configure_apt
    private_apt apt-get -qq update >&2
    for major in "${missing[@]}"; do fetch "$major"; done
fi
echo "$DESTINATION"
