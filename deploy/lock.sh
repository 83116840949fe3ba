#!/usr/bin/env bash
# Pins every package of the image by version and hash, what builds it included; no registry's address gets into the files.
#
#   deploy/lock.sh             writes deploy/*requirements.txt anew, upgrading what may be upgraded
#   deploy/lock.sh --check     fails where pyproject.toml asks for what they do not pin; writes nothing
#
# Needs uv and Python >= 3.11. Where packages come from is uv's own setting, not this script's.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
command -v uv >/dev/null || { echo "deploy/lock.sh needs uv on PATH" >&2; exit 1; }

compile() { # SOURCE TARGET [OPTION...]; "-" reads the source from stdin
    local source=$1 target=$2
    shift 2
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
        --output-file "$target" "$@" "$source" >/dev/null
}

compile_all() { # FOLDER [OPTION...]
    local folder=$1
    shift
    compile pyproject.toml "$folder/requirements.txt" "$@"
    python3 -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' |
        compile - "$folder/build-requirements.txt" "$@"
}

case ${1:-} in
"")
    compile_all deploy --upgrade
    echo "written: deploy/requirements.txt and deploy/build-requirements.txt"
    ;;
--check)
    # Compiling onto a copy keeps each pin that still satisfies pyproject.toml: a difference is a missing or outdated pin.
    copies=$(mktemp -d)
    trap 'rm -rf "$copies"' EXIT
    cp deploy/*requirements.txt "$copies"
    compile_all "$copies"
    for file in "$copies"/*; do
        diff -u "deploy/$(basename "$file")" "$file" || { echo "run deploy/lock.sh" >&2; exit 1; }
    done
    echo "the pins satisfy pyproject.toml"
    ;;
*)
    sed -n '2,7p' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
