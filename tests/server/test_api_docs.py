"""docs/API.md has a row for every field that the server knows."""
import pathlib
import re
import subprocess
import sys

root = pathlib.Path(__file__).resolve().parent.parent.parent
subprocess.run([sys.executable, root / "tools/api_docs.py", "--check"], check=True)
listed = len(re.findall(r"^(?:HONOURED|CLAMPED|CALLED|ACCEPTED|REFUSED)\(", (root / "src/server/api_fields.inc").read_text(), re.M))
table = (root / "docs/API.md").read_text().split("<!-- fields:")[1].split("<!-- end of fields -->")[0]
shown = len(re.findall(r"^\| `[a-z]", table, re.M))
assert listed == shown > 80, (listed, shown)
