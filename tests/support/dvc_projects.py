"""Small DVC projects, each for a part of what `dvc.yaml` can say. Every output depends on all that it
names.
"""

from __future__ import annotations

# `python3 tool.py OUT… -- WORDS…` writes to each output the words, the content of those that are files or
# folders, and its own parameters (PARAMS=file:key,key).
TOOL = """\
import csv, json, os, sys
at = sys.argv.index("--")
outs, words = sys.argv[1:at], sys.argv[at + 1:]
def content(word):
    if os.path.isdir(word):
        return {n: content(os.path.join(word, n)) for n in sorted(os.listdir(word)) if n != "__pycache__"}
    return open(word).read() if os.path.isfile(word) else word
made = [content(w) for w in words]
for out in outs:
    os.makedirs(os.path.dirname(out) or ".", exist_ok=True)
    if out.endswith("/"):
        for n in (1, 2):
            os.makedirs(os.path.join(out, "in"), exist_ok=True)
            open(os.path.join(out, "in", f"part{n}.txt"), "w").write(f"{n} {made!r}")
    elif out.endswith(".json"):
        json.dump({"size": len(repr(made)), "deep": {"words": len(words)}}, open(out, "w"))
    elif out.endswith(".csv"):
        rows = csv.writer(open(out, "w"))
        rows.writerows([["step", "loss"], *([n, len(repr(made)) / n] for n in range(1, 5))])
    else:
        open(out, "w").write(repr(made))
"""

CHAIN = {
    "dvc.yaml": """\
stages:
  prepare-data:
    desc: Splits the raw data
    cmd: python3 src/tool.py data/clean.txt data/parts/ -- data/raw.csv ${prepare.split} "${prepare.title}"
    deps: [data/raw.csv, src/tool.py]
    params: [prepare.split, prepare.title]
    outs:
      - data/clean.txt
      - data/parts:
          persist: true
  train:
    cmd:
      - mkdir -p models && cd models
      - >-
        python3 src/tool.py models/m.bin -- data/clean.txt data/parts/in/part1.txt lr=${train.lr}
        '{"a": {"b": 1}} {{x}}'
      - python3 src/tool.py metrics.json plots/loss.csv -- models/m.bin
    deps:
      - data/clean.txt
      - data/parts/in/part1.txt
      - src/tool.py
    params:
      - train
      - extra.toml: [net.depth]
    outs:
      - models/m.bin
    metrics:
      - metrics.json: {cache: false}
    plots:
      - plots/loss.csv: {x: step, y: loss, cache: false}
  whole-folder:
    cmd: python3 src/tool.py all.txt -- data/parts extra.toml
    deps: [data/parts]
    params:
      - extra.toml:
    outs: [all.txt]
plots:
  - plots/loss.csv: {x: step, y: loss, template: scatter, title: Loss}
artifacts:
  net: {path: models/m.bin, type: model, desc: the net}
""",
    "params.yaml": "prepare: {split: 0.25, title: some words}\ntrain:\n  lr: 1.0e-3\n  layers: [1, 2]\n",
    "extra.toml": "[net]\ndepth = 3\n",
    "data/raw.csv": "a,b\n1,2\n",
    "src/tool.py": TOOL,
}

FOREACH = {
    "dvc.yaml": """\
vars:
  - models: {small: {depth: 2, name: tiny net}, big: {depth: 9, name: large}}
  - settings.json
  - suffix: v1
stages:
  split:
    foreach: [de, en-us]
    do:
      cmd: python3 tool.py out/${item}.txt -- raw.txt ${item}
      deps: [raw.txt]
      outs: ["out/${item}.txt"]
  count:
    foreach: [de, en-us]
    do:
      cmd: python3 tool.py out/count-${item}.json -- out/${item}.txt --lang=${item} ${settings.mode}
      deps: ["out/${item}.txt"]
      metrics: ["out/count-${item}.json"]
  model:
    foreach: ${models}
    do:
      cmd: python3 tool.py out/${key}.bin -- --depth ${item.depth} --name "${item.name} ${suffix}" out/de.txt
      deps: [out/de.txt]
      outs: ["out/${key}.bin"]
  pairs:
    foreach:
      - {a: 1, b: x}
      - {a: 2, b: "y z"}
    do:
      cmd: python3 tool.py out/p${item.a}.txt -- '${item.b}'
      outs: ["out/p${item.a}.txt"]
  join:
    cmd: python3 tool.py joined.txt -- out/p1.txt out/p2.txt out/small.bin out/count-en-us.json
    deps: [out/p1.txt, out/p2.txt, out/small.bin, out/count-en-us.json]
    outs: [joined.txt]
""",
    "settings.json": '{"settings": {"mode": "fast", "level": 3}}',
    "raw.txt": "raw\n",
    "tool.py": TOOL,
}

MATRIX = {
    "dvc.yaml": """\
stages:
  grid:
    matrix:
      lr: [0.1, 0.01]
      data: [a, b]
      deep: [true]
    cmd: >-
      python3 tool.py out/${item.lr}-${item.data}-${item.deep}.csv --
      raw.txt ${item.lr} ${item.data} ${item.deep}
    deps: [raw.txt]
    plots: ["out/${item.lr}-${item.data}-${item.deep}.csv"]
  named:
    matrix:
      net: ${nets}
      n: [1]
    cmd: python3 tool.py out/${key}.txt -- ${item.net.name} ${item.n}
    outs: ["out/${key}.txt"]
  options:
    cmd: python3 tool.py options.txt -- ${train}
    params: [train]
    outs: [options.txt]
  gather:
    cmd: python3 tool.py gathered.txt -- out/0.1-a-true.csv out/net0-1.txt out/net1-1.txt
    deps: [out/0.1-a-true.csv, out/net0-1.txt, out/net1-1.txt]
    outs: [gathered.txt]
""",
    "params.yaml": "nets:\n  - {name: one}\n  - {name: two}\n"
    "train: {lr: 0.5, bag: true, cold: false, sizes: [1, 2], tag: a b, inner: {x: 3}}\n",
    "raw.txt": "raw\n",
    "tool.py": TOOL,
}

FOLDERS = {
    "dvc.yaml": """\
vars: [{where: sub}]
stages:
  make:
    wdir: ${where}
    cmd: python3 ../src/tool.py made.txt deep/dir/ -- ../data/raw.txt ${scale} $WORD
    deps: [../data/raw.txt, ../src/tool.py]
    params: [scale]
    outs: [made.txt, deep/dir]
  use:
    wdir: sub/deep
    vars: [{word: local}]
    cmd: python3 ../../src/tool.py "used file.txt" -- ../made.txt dir/in/part2.txt ${word} > /dev/null
    deps: [../made.txt, dir]
    outs: ["used file.txt"]
  top:
    frozen: false
    always_changed: true
    cmd: |
      python3 src/tool.py top.txt -- "sub/deep/used file.txt"
      echo done >> top.txt
    deps: ["sub/deep/used file.txt"]
    outs: [top.txt]
""",
    "params.yaml": "scale: 2\n",
    "sub/params.yaml": "scale: 7\n",
    "sub/deep/keep.txt": "",
    "data/raw.txt": "raw\n",
    "src/tool.py": TOOL,
}

PROJECTS = {"chain": CHAIN, "foreach": FOREACH, "matrix": MATRIX, "folders": FOLDERS}
