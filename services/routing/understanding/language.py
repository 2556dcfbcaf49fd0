"""Which language: script first, then frequent words, letters and endings. Cheap, and silent (`und`) where it does not
know.

Languages without lexicons are named where that costs nothing, so that they are not scored as English by mistake.
"""

import re
from dataclasses import dataclass

from services.routing.understanding.lexicon import Lexicon, phrases, read
from services.routing.understanding.normalise import fold

MIN_LETTERS = 3
MIN_SHARE = 0.55  # the winner's share of all evidence; below it nobody has won
_MIXED_SHARE = 0.22
_MIXED_EVIDENCE = 1.5
_HINT = 1.5

_LATIN = re.compile(r"[A-Za-zÀ-ɏ]")
_ARABIC = re.compile(r"[؀-ۿݐ-ݿﭐ-﷿ﹰ-﻿]")
_LETTER = re.compile(r"[^\W\d_]")
_NOISE = re.compile(r"https?://\S+|www\.\S+|[@#]\w+", re.IGNORECASE)
_SCRIPTS = tuple(
    (language, re.compile(f"[{span}]"))
    for language, span in (
        ("ja", "ぁ-ヿ"),
        ("ko", "가-힣ᄀ-ᇿ"),
        ("zh", "一-鿿"),
        ("ru", "Ѐ-ӿ"),
        ("el", "Ͱ-Ͽ"),
        ("he", "֐-׿"),
        ("hi", "ऀ-ॿ"),
        ("th", "฀-๿"),
        ("hy", "԰-֏"),
        ("ka", "Ⴀ-ჿ"),
    )
)
_LETTERS = (
    ("tr", re.compile(r"[ğışİĞŞ]"), 0.6),
    ("tr", re.compile(r"[çöüÇÖÜ]"), 0.2),
    ("de", re.compile(r"[äöüß]"), 0.35),
    ("fr", re.compile(r"[éèêàçœùî]"), 0.35),
    ("es", re.compile(r"[ñ¿¡áíóú]"), 0.5),
    ("pt", re.compile(r"[ãõ]"), 0.8),
    ("fa", re.compile("[پچژگ\u200c]"), 0.5),
    ("fa", re.compile("[یک]"), 0.12),
    ("ar", re.compile("[ةىأإؤ]|\\bال|[ًٌٍ]"), 0.4),
    ("ur", re.compile("[ٹڈڑےںھہ]"), 0.9),
)
_ENDINGS = (
    (
        "tr",
        re.compile(
            r"\w{2,}(?:[iu]yor(?:um|sun|uz|lar|du)?|[dt][iu](?:m|k|niz|nuz|lar)|[dt][iu]ler|[ae]c[ae]k|m[iu]s|"
            r"l[ae]r(?:[iu]|[dt][ae])?|[iu]n[iu]z|[iu]nd[ae]|m[ae]d[iu]|s[iu]z|l[iu]k)$"
        ),
        0.5,
    ),
    ("en", re.compile(r"\w{3,}(?:ing|tion|ly|ness|ful|ght|wh\w+)$"), 0.4),
    ("de", re.compile(r"\w{3,}(?:ung|lich|keit|isch|ieren)$"), 0.5),
    ("fa", re.compile(r"(?:ن?می\w{2,}|\w{2,}(?:هاش?|های|ترین?|تون|شون|یم|ند))$"), 0.4),
    ("ar", re.compile(r"ال\w{3,}$|\w{3,}(?:ات|ون|ين)$"), 0.5),
)
_LATIN_LANGUAGES = frozenset({"en", "tr", "de", "fr", "es", "it", "pt", "nl"})
_ARABIC_LANGUAGES = frozenset({"fa", "ar", "ur"})


@dataclass(frozen=True, slots=True)
class Guess:
    """`language` is ISO 639-1 or `und`; `mixed` lists the languages with rules that the text seems to hold, strongest
    first.
    """

    language: str
    confidence: float
    mixed: tuple[str, ...]


class LanguageRules:
    """Counts evidence per language. Lexicon words vote too, weakly: that carries two-word answers such as "kargo
    hızlı".
    """

    def __init__(self, lexicons: dict[str, Lexicon]) -> None:
        self._words: dict[str, list[tuple[str, float]]] = {}
        for language, block in read("languages.yaml").items():
            for word in phrases(block):
                self._words.setdefault(fold(word), []).append((language, 1.0))
        self._lexicons = lexicons
        self._cache: dict[str, tuple[tuple[str, float], ...]] = {}

    def guess(self, text: str, words: list[str], hint: str | None = None) -> Guess:
        """Judge the cleaned text together with its folded words."""
        bare = _NOISE.sub(" ", text) if "@" in text or "#" in text or "http" in text or "www" in text else text
        letters = len(_LETTER.findall(bare))
        if letters < MIN_LETTERS:
            return Guess("und", 0.0, self._fallback(hint))
        latin, arabic = len(_LATIN.findall(bare)), len(_ARABIC.findall(bare))
        if latin + arabic < letters / 2:
            return self._by_script(bare, letters)
        evidence = self._evidence(bare, words, latin, arabic)
        if hint is not None:
            claimed = hint[:2].lower()
            if (claimed in _LATIN_LANGUAGES and latin >= arabic) or (claimed in _ARABIC_LANGUAGES and arabic > latin):
                evidence[claimed] = evidence.get(claimed, 0.0) + _HINT
        return self._decide(evidence, hint)

    def _evidence(self, text: str, words: list[str], latin: int, arabic: int) -> dict[str, float]:
        evidence: dict[str, float] = {}
        for word in words:
            for language, weight in self._votes(word):
                evidence[language] = evidence.get(language, 0.0) + weight
        for language, pattern, weight in _LETTERS:
            count = min(len(pattern.findall(text)), 8)
            if count:
                evidence[language] = evidence.get(language, 0.0) + weight * count
        if arabic > 2 * latin:
            for language in _LATIN_LANGUAGES & evidence.keys():
                evidence[language] *= 0.3
        return evidence

    def _votes(self, word: str) -> tuple[tuple[str, float], ...]:
        """What one word says; cached, because a few thousand words make up nearly all feedback."""
        known = self._cache.get(word)
        if known is None:
            votes = list(self._words.get(word, ()))
            if not votes:
                votes = [(language, weight) for language, pattern, weight in _ENDINGS if pattern.match(word)]
            for language, lexicon in self._lexicons.items():
                if len(word) > 2 and any(len(e.parts) == 1 for e in lexicon.matcher.candidates(word)):
                    votes.append((language, 0.7))
            if len(self._cache) > 50_000:
                self._cache.clear()
            known = self._cache[word] = tuple(votes)
        return known

    def _decide(self, evidence: dict[str, float], hint: str | None) -> Guess:
        total = sum(evidence.values())
        if total < 0.5:
            return Guess("und", 0.0, self._fallback(hint))
        ranked = sorted(evidence.items(), key=lambda item: (-item[1], item[0]))
        best, most = ranked[0]
        share = most / total
        mixed = tuple(
            name
            for name, value in ranked
            if name in self._lexicons and (name == best or (value >= _MIXED_EVIDENCE and value / total >= _MIXED_SHARE))
        )
        confidence = round(share * most / (most + 0.5), 4)
        close = len(ranked) > 1 and most < 1.25 * ranked[1][1]
        if share < MIN_SHARE and close and len(mixed) < 2:  # two known languages in one text are no doubt but a mixture
            return Guess("und", confidence, mixed)
        return Guess(best, confidence, mixed if best in self._lexicons else ())

    def _by_script(self, text: str, letters: int) -> Guess:
        for language, pattern in _SCRIPTS:
            found = len(pattern.findall(text))
            if found > letters / 3:
                if language == "ru" and re.search("[іїєґІЇЄҐ]", text):
                    return Guess("uk", 0.8, ())
                return Guess(language, round(min(0.95, found / letters), 4), ())
        return Guess("und", 0.0, ())

    def _fallback(self, hint: str | None) -> tuple[str, ...]:
        """Nothing to go by: the hint's rules, else all, since emoji and a lone "ok" are judged alike in each."""
        if hint is not None and hint[:2].lower() in self._lexicons:
            return (hint[:2].lower(),)
        return ()
