#!/bin/sh
# Makes the committed results of tests again, in a virtual environment under build/ (gigabytes; transformers, mlx ...).
set -eu
cd "$(dirname "$0")/.."
venv=${BUILD:-build}/venv-oracle
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
echo "== installing tests/oracles/requirements.txt"
"$venv/bin/pip" install -q -r tests/oracles/requirements.txt
for script in tests/oracles/make_*.py; do
  echo "== $script"
  if [ "$(basename "$script")" = make_models.py ]; then
    "$venv/bin/python" "$script" all
  else
    "$venv/bin/python" "$script"
  fi
done
git status --short tests | head -20
