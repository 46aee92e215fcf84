#!/usr/bin/env python3
"""Tokenizers side by side in one run: Lastbit, Hugging Face tokenizers and tiktoken on one text, one thread each.

    bench/peers/tokenizer.py TEXT TOKENIZER_JSON [--rounds 3] [--build build/release]

Needs the PyPI packages tokenizers and tiktoken, and the targets lastbit_cli and tokenizer_bench. All encode the same
documents of 16,384
characters. Rounds are interleaved; the table has the median MB/s of CPU time (wall time in brackets), because other
work on the machine slows them all, and whether the ids are Hugging Face's."""
import argparse, json, os, statistics, subprocess, tempfile, time

parser = argparse.ArgumentParser()
parser.add_argument('text')
parser.add_argument('tokenizer')
parser.add_argument('--rounds', type=int, default=3)
parser.add_argument('--build', default='build/release')
options = parser.parse_args()

os.environ['RAYON_NUM_THREADS'] = '1'
import tiktoken
from tokenizers import Tokenizer

text = open(options.text, encoding='utf-8').read()
documents = [text[i:i + 16384] for i in range(0, len(text), 16384)]
megabytes = len(text.encode()) / 1e6
huggingface = Tokenizer.from_file(options.tokenizer)


def make_tiktoken():
    """The same ranks with the three splits as one alternation, the nearest that tiktoken can do."""
    description = json.load(open(options.tokenizer))
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    symbols = {chr(byte): byte for byte in printable}
    for extra, byte in enumerate(b for b in range(256) if b not in printable):
        symbols[chr(256 + extra)] = byte
    added = {token['content'] for token in description['added_tokens']}
    ranks = {bytes(symbols[c] for c in token): rank for token, rank in description['model']['vocab'].items()
             if token not in added and all(c in symbols for c in token)}
    splits = [step['pattern']['Regex'] for step in description['pre_tokenizer']['pretokenizers'] if step['type'] == 'Split']
    return tiktoken.Encoding('peer', pat_str='|'.join(splits), mergeable_ranks=ranks, special_tokens={})


def timed(run):
    wall, cpu = time.perf_counter(), time.process_time()
    result = run()
    return megabytes / (time.process_time() - cpu), megabytes / (time.perf_counter() - wall), result


def lastbit(benchmark):
    """One run of the benchmark program: MB/s of CPU time and of wall time."""
    environment = dict(os.environ, LASTBIT_TOKENIZER=os.path.abspath(options.tokenizer),
                       LASTBIT_TEXT=os.path.abspath(options.text), LASTBIT_THREADS='1')
    out = subprocess.run([f'{options.build}/tokenizer_bench', f'--benchmark_filter=^{benchmark}$', '--benchmark_format=json'],
                         env=environment, capture_output=True, text=True, check=True).stdout
    found = json.loads(out)['benchmarks'][0]
    return found['cpu_time'], found['real_time']


def lastbit_ids():
    with tempfile.TemporaryDirectory() as folder:
        with open(f'{folder}/in.jsonl', 'w', encoding='utf-8') as file:
            for document in documents:
                file.write(json.dumps({'text': document}) + '\n')
        subprocess.run([f'{options.build}/lastbit', 'tokenizer', 'encode', '--tokenizer', options.tokenizer,
                        '--in', f'{folder}/in.jsonl', '--out', f'{folder}/out.jsonl'], check=True)
        return [json.loads(line)['ids'] for line in open(f'{folder}/out.jsonl')]


peer = make_tiktoken()
engines = {
    'tokenizers encode': lambda: [huggingface.encode(d, add_special_tokens=False).ids for d in documents],
    'tokenizers encode_batch_fast':
        lambda: [e.ids for e in huggingface.encode_batch_fast(documents, add_special_tokens=False)],
    'tiktoken encode_ordinary': lambda: [peer.encode_ordinary(d) for d in documents],
}
speeds = {name: [] for name in [*engines, 'lastbit encode', 'lastbit decode']}
ids = {'lastbit encode': lastbit_ids()}
loads = []
for _ in range(options.rounds):
    for name, run in engines.items():
        cpu, wall, ids[name] = timed(run)
        speeds[name].append((cpu, wall))
    for name in ('encode', 'decode'):
        cpu_ms, wall_ms = lastbit(name)
        speeds[f'lastbit {name}'].append((megabytes / cpu_ms * 1e3, megabytes / wall_ms * 1e3))
    loads.append(lastbit('load')[0])

reference = ids['tokenizers encode']
print(f'{megabytes:.2f} MB, {len(documents)} documents, median of {options.rounds} rounds, one thread')
for name, found in speeds.items():
    cpu, wall = (statistics.median(column) for column in zip(*found))
    differ = sum(a != b for a, b in zip(ids[name], reference)) if name in ids else None
    verdict = '' if differ is None else 'same ids' if differ == 0 else f'other ids in {differ} documents'
    print(f'{name:<30}{cpu:8.1f} MB/s ({wall:.1f})  {verdict}')
print(f'lastbit loads the tokenizer in {statistics.median(loads):.0f} ms')
