#!/usr/bin/env bash
# `make demo`: what a user sees, on a copy of examples/digits below .cache, so that the checkout stays clean.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$here/../.cache/demo/digits
export PATH="${BIN:-$here/../.venv/bin}:$PATH" MLPIPEC_CACHE_DIR="$here/../.cache/mlpipec"

bold='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$'\e[1m' plain=$'\e[0m'; fi
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
show() { say "\$ $*"; "$@"; }

rm -rf "$work"
mkdir -p "$work"
cp -R "$here/digits/." "$work/"
rm -rf "$work/.mlpipe"
cd "$work"
git init -q -b main
git add -A
git -c user.name=demo -c user.email=demo@example.com commit -q -m "digits"

say "One file describes the project."
show mlpipec graph
show mlpipec check

say "A first run makes everything."
show mlpipec run

say "Nothing changed: nothing runs."
show mlpipec run

say "What a reviewer sees."
show mlpipec report review
show mlpipec report review --html report.html

say "CI for GitHub from the same file."
show mlpipec build --target github
ls -1 .github/workflows

say "It is all in .cache/demo/digits: look at report.html and .github/workflows, change params.yaml, run again."
