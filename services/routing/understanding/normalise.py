"""One spelling for one word: folding that makes typed variants meet the lexicon.

The lexicons pass through the same functions when they are loaded, so they are written in ordinary spelling.
"""

import re
import unicodedata
from dataclasses import dataclass

MAX_CHARS = 4_000  # nobody's verdict changes after that, and one pasted log must not hold up a batch

_ARABIC_TO_PERSIAN = {
    "ي": "ی",
    "ى": "ی",
    "ئ": "ی",
    "ك": "ک",
    "ة": "ه",
    "ۀ": "ه",
    "أ": "ا",
    "إ": "ا",
    "آ": "ا",
    "ٱ": "ا",
    "ؤ": "و",
}
_LATIN = {"İ": "i", "I": "i", "ı": "i", "ß": "ss", "æ": "ae", "ø": "o", "’": "'", "‘": "'", "`": "'", "´": "'"}
# Deleted: ZWNJ and ZWJ (written or not, the word is the same), direction marks, soft hyphen, Arabic diacritics and
# tatweel,
# variation selectors, and the combining marks that decomposition leaves behind.
_DELETED = [0x200B, 0x200C, 0x200D, 0x200E, 0x200F, 0x061C, 0xFEFF, 0x00AD, 0x0640, 0x0670, 0xFE0E, 0xFE0F]
_DELETED += [*range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0x064B, 0x0660), *range(0x0300, 0x0370)]
_DIGITS = {chr(start + n): str(n) for start in (0x06F0, 0x0660) for n in range(10)}
_BEFORE = str.maketrans({**_ARABIC_TO_PERSIAN, **_LATIN, **_DIGITS, **{chr(c): "" for c in _DELETED}})
_AFTER = str.maketrans({chr(c): "" for c in _DELETED})

_LONG_VOWEL = re.compile(r"o{3,}(?=[dklt])|e{3,}(?=[tpdln])")
_REPEATED = re.compile(r"([^\W\d_])\1{2,}")
_PERSIAN_PREFIX = re.compile(r"\b(ن?می) (?=[آ-ی])")
_PERSIAN_SUFFIX = re.compile(r"(?<=[آ-ی]) (ها|های|هایی|هاشون|ترین)\b")
_FUTURE = re.compile(r"'ll\b")
_INNER_APOSTROPHE = re.compile(r"(?<=\w)'(?=\w)")
_TOKEN = re.compile(r"[^\W_]+|[.!?;\n؟؛…]+|[,:،()«»\"“”]|-(?= )")
_SENTENCE_END = frozenset(".!?;\n؟؛…")


def clean(text: str) -> str:
    """Drop what cannot be read (controls, lone surrogates) and cut at MAX_CHARS; everything else works on this."""
    cut = text[:MAX_CHARS]
    if cut.isascii() and cut.isprintable():
        return cut
    return "".join(c for c in cut if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs"))


def fold(text: str) -> str:
    """Lower-case, undiacritised, one codepoint per letter: "GEÇ geldi", "gec geldi" are the same, and so are "می‌شه",
    "می شه", "ميشه".

    Both Turkish i's become `i`: capital I is then right in Turkish and in English without knowing the language first.
    """
    if text.isascii():
        out = text.lower()
    else:
        composed = unicodedata.normalize("NFKC", text).translate(_BEFORE).lower()
        out = unicodedata.normalize("NFKD", composed).translate(_AFTER).translate(_BEFORE)
        out = _PERSIAN_SUFFIX.sub(r"\1", _PERSIAN_PREFIX.sub(r"\1", out))
    if "'" in out:
        out = _INNER_APOSTROPHE.sub("", _FUTURE.sub(" will", out))
    return _REPEATED.sub(r"\1", _LONG_VOWEL.sub(lambda m: m.group()[:2], out))


@dataclass(frozen=True, slots=True)
class Tokens:
    """Folded words, and for each the number of its sentence and of its clause (commas and brackets end a clause)."""

    words: list[str]
    sentence: list[int]
    clause: list[int]
    questions: frozenset[int]


def tokenise(folded: str) -> Tokens:
    """Words with their place: phrases may not cross a sentence, negation may not cross a clause."""
    words: list[str] = []
    sentences: list[int] = []
    clauses: list[int] = []
    questions: set[int] = set()
    sentence = clause = 0
    for token in _TOKEN.findall(folded):
        if token[0] in _SENTENCE_END:
            if "?" in token or "؟" in token:
                questions.add(sentence)
            sentence += 1
            clause += 1
        elif token[0].isalnum():
            words.append(token)
            sentences.append(sentence)
            clauses.append(clause)
        else:
            clause += 1
    return Tokens(words, sentences, clauses, frozenset(questions))
