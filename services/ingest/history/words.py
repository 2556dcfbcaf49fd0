"""Words by which columns are known, in English, Turkish and Persian. Data only; `guessing` reads it.

Of several words for one field the first that a file has counts. All are compared folded (see `fold`).
"""

import re
import unicodedata

_SAME = str.maketrans({"ı": "i", "ي": "ی", "ى": "ی", "ك": "ک", "ة": "ه", "\u200c": " ", "\u200d": " ", "ـ": ""})
_NO_WORD = re.compile(r"[\W_]+")


def fold(text: str) -> str:
    """Letters and digits in one spelling, words apart by one space; a lone `#` stays."""
    if text.strip() == "#":
        return "#"
    plain = unicodedata.normalize("NFKD", text.casefold().translate(_SAME))
    return _NO_WORD.sub(" ", "".join(mark for mark in plain if not unicodedata.combining(mark))).strip()


def _folded(words: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    return {field: tuple(fold(word) for word in some) for field, some in words.items()}


FIELDS = _folded(
    {
        "id": ("id", "response id", "answer id", "feedback id", "review id", "yanıt no", "yanıt id", "cevap no",
               "kayıt no", "شناسه", "شناسه پاسخ", "کد پاسخ"),
        "occurred_at": ("occurred at", "submitted at", "submit date", "submission date", "response date", "answered at",
                        "completed at", "created at", "timestamp", "date and time", "date", "time",
                        "yanıt tarihi", "cevap tarihi", "gönderim tarihi", "oluşturma tarihi", "zaman damgası",
                        "tarih saat", "tarih", "zaman", "تاریخ پاسخ", "تاریخ ثبت", "زمان ثبت", "تاریخ", "زمان"),
        "text": ("comment", "comments", "feedback", "review", "text", "message", "remarks", "yorum", "yorumlar",
                 "görüş", "görüşünüz", "geri bildirim", "mesaj", "açıklama", "نظر", "نظرات", "دیدگاه", "بازخورد", "متن",
                 "پیام", "توضیحات"),
        "title": ("title", "subject", "başlık", "konu", "عنوان", "موضوع"),
        "url": ("url", "link", "permalink", "bağlantı", "پیوند", "لینک"),
        "customer.email": ("email", "e-mail", "email address", "e-mail address", "mail", "customer email", "eposta",
                           "e-posta", "e-posta adresi", "müşteri e-posta", "ایمیل", "رایانامه", "پست الکترونیک",
                           "آدرس ایمیل"),
        "customer.phone": ("phone", "phone number", "mobile", "telefon", "telefon numarası", "cep telefonu", "gsm",
                           "تلفن", "شماره تلفن", "موبایل", "شماره موبایل", "تلفن همراه"),
        "customer.id": ("customer id", "customer number", "user id", "client id", "account id", "müşteri no",
                        "müşteri numarası", "müşteri id", "شناسه مشتری", "کد مشتری", "شماره مشتری"),
        "customer.handle": ("handle", "username", "user name", "kullanıcı adı", "نام کاربری"),
        "channel": ("channel", "kanal", "کانال"),
        "touchpoint": ("touchpoint", "touch point", "temas noktası", "نقطه تماس"),
        "department": ("department", "departman", "bölüm", "بخش", "واحد", "دپارتمان"),
        "product": ("product", "product name", "ürün", "ürün adı", "محصول", "نام محصول", "کالا"),
        "segment": ("segment", "customer segment", "müşteri segmenti", "بخش مشتری", "گروه مشتری"),
        "language": ("language", "locale", "dil", "زبان"),
        "survey.id": ("survey", "survey id", "survey name", "anket", "anket adı", "نظرسنجی", "نام نظرسنجی"),
        "survey.wave": ("wave", "dalga", "دوره"),
        "thread_id": ("thread id", "conversation id", "ticket id", "konuşma no", "شناسه گفتگو"),
    }
)  # fmt: skip
NAMES = _folded(
    {
        "full": ("name", "full name", "customer name", "customer", "ad soyad", "adı soyadı", "isim", "müşteri adı",
                 "müşteri", "نام و نام خانوادگی", "نام کامل", "نام مشتری"),
        "first": ("first name", "given name", "ad", "adı", "نام"),
        "last": ("last name", "surname", "family name", "soyad", "soyadı", "نام خانوادگی"),
    }
)  # fmt: skip
VENDORS: dict[str, dict[str, tuple[str, ...]]] = {
    "delighted": _folded({"occurred_at": ("response date", "responded at", "created at", "date")}),
    "surveymonkey": _folded({"id": ("respondent id",), "occurred_at": ("end date", "date modified", "start date")}),
    "typeform": _folded({"id": ("#", "response id", "token"), "occurred_at": ("submit date (utc)", "submitted at")}),
}
# What the vendors write beside the answers. It is not an answer, whatever it looks like.
BESIDE: dict[str, frozenset[str]] = {
    "delighted": frozenset(map(fold, ("person id", "survey type", "updated at", "tags", "notes", "locale"))),
    "surveymonkey": frozenset(map(fold, ("collector id", "start date", "ip address", "custom data 1", "date created"))),
    "typeform": frozenset(
        map(fold, ("response type", "start date (utc)", "stage date (utc)", "network id", "tags", "ending"))
    ),
}
# Names of a score that do not say what was asked.
SCORES = frozenset(
    map(fold, ("score", "rating", "stars", "grade", "points", "puan", "skor", "derece", "not", "değerlendirme",
               "امتیاز", "نمره", "ستاره"))
)  # fmt: skip
# Questions, by a part of their words.
ASKED: dict[str, re.Pattern[str]] = {
    metric: re.compile("|".join(parts))
    for metric, parts in {
        "nps": (r"\bnps\b", "net promoter", "recommend", "tavsiye", r"\boner(ir|me|il)", "توصیه", "پیشنهاد", "معرفی"),
        "csat": (r"\bcsat\b", "satisf", "memnun", "رضایت", "راضی"),
        "ces": (r"\bces\b", r"\beffort", r"\beas(e|y|ily)\b", "kolay", "zahmet", r"\befor", "سهولت", fold("آسان")),
    }.items()
}
# A date of this kind is not when something was said.
BORN = re.compile("birth|born|dogum|تولد")
