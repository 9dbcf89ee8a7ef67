#!/usr/bin/env bash
# Installs the peers into a virtual environment (the first time) and prints one
# table: this module and its peers on the same work, in the same run.
#
#   tools/peers/run.sh [--threads 1,2] [--rounds 7] [--only vit,sam]
set -euo pipefail
cd "$(dirname "$0")"
venv=${PEERS_VENV:-$HOME/.cache/clipsurgery-peers}
if [ ! -x "$venv/bin/python" ]; then
	python3 -m venv "$venv"
	"$venv/bin/pip" install --quiet -r requirements.txt
fi
ours=$(mktemp)
trap 'rm -f "$ours"' EXIT
go build -o "$ours" ./ours
"$venv/bin/python" peers.py --ours "$ours" "$@"
