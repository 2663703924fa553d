"""Sentences in Thai and English, chemical reactions, a tokenised series and a protein."""

import json
import math
import re
from pathlib import Path

import torch
from torch import Tensor

THAI = """
วันนี้|อากาศ|ดี|มาก|เรา|จะ|ไป|เที่ยว|ทะเล|กับ|เพื่อน|แม่|ทำ|อาหาร|อร่อย|ทุก|วัน|น้อง|ชอบ|กิน|ข้าว|ผัด|และ|ดื่ม|น้ำ|ส้ม
ประเทศ|ไทย|มี|อาหาร|และ|ผลไม้|มาก|มาย|นัก|เรียน|อ่าน|หนังสือ|ที่|โรงเรียน|ครู|สอน|ภาษา|ไทย|และ|ภาษา|อังกฤษ
พ่อ|ทำงาน|ใน|เมือง|ใหญ่|เขา|ขับ|รถ|ไป|ทำงาน|ตอน|เช้า|ตอน|เย็น|เขา|กลับ|บ้าน|มา|กิน|ข้าว|กับ|ครอบครัว
แมว|ของ|ฉัน|นอน|บน|เก้าอี้|หมา|วิ่ง|เล่น|ใน|สวน|ดอกไม้|สี|แดง|สวย|มาก|ฝน|ตก|หนัก|ใน|หน้า|ฝน
"""
SENTENCES = """
The cat sleeps on the chair.|A cat is lying on a chair.
He drives to work every morning.|Each morning he takes his car to the office.
The price of oil rose last week.|Last week oil became more expensive.
She plays the violin in an orchestra.|She is a violinist in an orchestra.
The river floods the valley in spring.|In spring the valley is under water.
The engineers repaired the old bridge.|The old bridge was mended by engineers.
Children learn languages quickly.|A child picks up a new language fast.
The train to the coast was late again.|Once more the coastal train had a delay.
"""
REACTIONS = """
CC(=O)O.OCC>>CC(=O)OCC
CC(=O)Cl.NCc1ccccc1>>CC(=O)NCc1ccccc1
OB(O)c1ccccc1.Brc1ccncc1>>c1ccc(-c2ccncc2)cc1
O=C(O)c1ccccc1.CN>>CNC(=O)c1ccccc1
CCBr.Oc1ccccc1>>CCOc1ccccc1
O=Cc1ccccc1.NO>>ON=Cc1ccccc1
CC(C)=O.[Na+].[BH4-]>>CC(C)O
C=CC=C.C=CC(=O)OC>>COC(=O)C1CC=CCC1
O=[N+]([O-])c1ccccc1>>Nc1ccccc1
CC(=O)c1ccccc1.O=Cc1ccccc1>>O=C(C=Cc1ccccc1)c1ccccc1
N#CCc1ccccc1>>NCCc1ccccc1
CC(C)(C)OC(=O)NCc1ccccc1>>NCc1ccccc1
"""
SMILES = re.compile(r">>|\[[^\]]+\]|Br|Cl|[A-Za-z0-9]|[=#()\-.+/\\@]")
MASK, CLS, SEP = "[MASK]", "[CLS]", "[SEP]"
Tokens = dict[str, Tensor]


def thai() -> list[tuple[Tensor, Tensor]]:
    """Windows of 64 characters, (N, 2, 64) with their syllables, and whether a word begins.

    A syllable is the longest that the package's table knows from there on.
    """
    folder = Path("attacut/artifacts/attacut-sc")
    characters = json.loads((folder / "characters.json").read_text())
    syllables = json.loads((folder / "syllables.json").read_text())
    words = THAI.replace("\n", "|").strip("|").split("|")
    text, begins = "".join(words), [float(at == 0) for word in words for at in range(len(word))]
    rows: list[tuple[int, int]] = []
    while len(rows) < len(text):
        rest = text[len(rows) :]
        length = next((n for n in range(12, 0, -1) if rest[:n] in syllables), 1)
        syllable = syllables.get(rest[:length], 1)
        rows += [(characters.get(character, 1), syllable) for character in rest[:length]]
    x = torch.tensor(rows[: len(rows) // 64 * 64]).reshape(-1, 64, 2).transpose(1, 2)
    y = torch.tensor(begins[: len(x) * 64]).reshape(-1, 64)
    return [(x, y)]


def paraphrases() -> list[tuple[Tensor, Tensor]]:
    """Eight pairs of sentences that say the same, (8, 2, T) tokens, and the place of each."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file("wordllama/tokenizers/l2_supercat_tokenizer_config.json")
    sentences = [part for line in SENTENCES.split("\n") if line for part in line.split("|")]
    rows = [torch.tensor(tokenizer.encode(text).ids) for text in sentences]
    tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return [(tokens.reshape(8, 2, -1), torch.arange(8))]


def reactions() -> list[tuple[Tokens, Tensor]]:
    """Twelve reactions' tokens, padded, every sixth masked, and what it was (-100 elsewhere)."""
    folder = Path("rxnmapper/models/transformers/albert_heads_8_uspto_all_1310k")
    numbers = {word: at for at, word in enumerate((folder / "vocab.txt").read_text().split("\n"))}
    texts = [[CLS, *SMILES.findall(line), SEP] for line in REACTIONS.split()]
    rows = [
        torch.tensor([numbers.get(token, numbers["[UNK]"]) for token in text]) for text in texts
    ]
    tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    known = tokens != 0
    masked = known & (torch.arange(tokens.shape[1]) % 6 == 3)
    inputs = {
        "input_ids": tokens.masked_fill(masked, numbers[MASK]),
        "attention_mask": known.long(),
    }
    return [(inputs, tokens.masked_fill(~masked, -100))]


def tokenised_series() -> list[tuple[Tokens, Tensor]]:
    """Eight sine waves in 32 tokens, (8, 64) to encode and (8, 16) to go on with."""
    time = torch.arange(64 + 17)
    period = torch.arange(8, 24, 2)[:, None]
    tokens = 2 + ((1 + torch.sin(2 * math.pi * time / period)) * 14.9).long()
    inputs = {
        "input_ids": tokens[:, :64],
        "attention_mask": torch.ones(8, 64, dtype=torch.int64),
        "decoder_input_ids": tokens[:, 64:-1],
    }
    return [(inputs, tokens[:, 65:])]


def helices() -> list[tuple[tuple[Tensor, ...], Tensor]]:
    """Two helices of 60 residues, as ProteinMPNN takes them: (2, 60, 4, 3) atoms and the rest.

    The atoms N, CA, C and O lie on the helix of an ideal backbone; the residues are drawn.
    """
    draw = torch.Generator().manual_seed(0)
    turn, rise = math.radians(100), 1.5
    radius = torch.tensor([1.55, 2.28, 1.66, 2.05])
    ahead = torch.tensor([-0.49, 0.0, 0.46, 0.46])  # radians
    above = torch.tensor([-0.87, 0.0, 1.2, 2.4])
    residue = torch.arange(60.0)[:, None]
    angle = residue * turn + ahead
    atoms = torch.stack((radius * angle.cos(), radius * angle.sin(), residue * rise + above), 2)
    atoms = atoms + 0.1 * torch.randn(2, 60, 4, 3, generator=draw)
    kinds = torch.randint(20, (2, 60), generator=draw)
    ones, number = torch.ones(2, 60), torch.arange(60).expand(2, -1)
    order = torch.randn(2, 60, generator=draw)
    return [((atoms, kinds, ones, ones, number, ones.long(), order), kinds)]
