#!/bin/bash
# Brings a fresh Ubuntu machine to what a node of a cluster needs: Python 3.11 in ~/env with requirements.txt and whatever
# packages are named as arguments. Does nothing where they are there already: an image of one's own, a second `ray up`.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")

there() {
    python - "$here/requirements.txt" "$@" <<'PY' 2>/dev/null
import sys
from importlib.metadata import version
lines = [line.split("#")[0].strip() for line in open(sys.argv[1])] + sys.argv[2:]
for name, wanted in (line.split("==") for line in lines if line):
    assert version(name.split("[")[0]).split("+")[0] == wanted, name
PY
}

if there "$@"; then
    exit 0
fi
if [ ! -x ~/uv/bin/uv ]; then
    # On a fresh machine the image's own updates may hold the lock for some minutes.
    export DEBIAN_FRONTEND=noninteractive
    sudo -E apt-get -qq -o DPkg::Lock::Timeout=600 update
    sudo -E apt-get -qq -o DPkg::Lock::Timeout=600 install -y python3-venv rsync
    python3 -m venv ~/uv
    ~/uv/bin/pip install -q uv
fi
[ -x ~/env/bin/python ] || ~/uv/bin/uv venv -q --python 3.11 ~/env
# "auto": torch for the GPU's driver where there is one, else the small build for CPUs.
~/uv/bin/uv pip install -q --python ~/env/bin/python --torch-backend auto -r "$here/requirements.txt" "$@"
touch ~/.bashrc
grep -qs 'HOME/env/bin' ~/.bashrc || echo "export PATH=\"\$HOME/env/bin:\$PATH\"" | cat - ~/.bashrc > ~/.bashrc.new
[ ! -f ~/.bashrc.new ] || mv ~/.bashrc.new ~/.bashrc
