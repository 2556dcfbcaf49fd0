"""What the rules must get right, per language and tag: one line each, so that a wrong change names its victim."""

import pytest

from services.routing.understanding import Message, RulesUnderstander, Understanding
from services.routing.understanding.normalise import fold
from services.routing.understanding.port import Understander

RULES = RulesUnderstander()


def understand(text: str, *, hint: str | None = None, public: bool = False) -> Understanding:
    return RULES.understand([Message(text, hint, public)])[0]


def issues(text: str) -> set[str]:
    return {issue for issue, _ in understand(text).issues}


def test_rules_fill_the_port() -> None:
    engine: Understander = RULES
    assert engine.understand([]) == []
    assert engine.understand([Message("hello there", None, False)])[0].version == "rules-1"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("geç geldi", "GEC GELDI"),
        ("İADE ISTIYORUM", "iade istiyorum"),
        ("كيفيت", "کیفیت"),
        ("نمی‌شه", "نمی شه"),
        ("نمی‌شه", "نميشه"),
        ("کتاب‌ها", "کتاب ها"),
        ("۴۵ دقیقه", "45 دقیقه"),
        ("soooo goooood", "so good"),
        ("süperrrr", "super"),
        ("don’t", "dont"),
        ("\u202bعالی\u202c", "عالي"),
    ],
)
def test_folding_unites_spellings(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The parcel came on Tuesday", "en"),
        ("Kargo salı günü geldi", "tr"),
        ("kargo cok gec geldi", "tr"),
        ("kargo hızlı", "tr"),
        ("بسته سه‌شنبه رسید", "fa"),
        ("كيفيت خيلي بد بود", "fa"),
        ("هذا المنتج سيء جدا ولم يصل في الوقت المحدد", "ar"),
        ("Die Lieferung war sehr schnell, danke", "de"),
        ("La livraison est toujours en retard et je suis très déçu", "fr"),
        ("El pedido llegó muy tarde pero la tienda es buena", "es"),
        ("Доставка была очень быстрой", "ru"),
        ("とても良いサービスでした", "ja"),
        ("ok", "und"),
        ("👍👍", "und"),
        ("12345", "und"),
        ("", "und"),
    ],
)
def test_language(text: str, language: str) -> None:
    assert understand(text).language == language


def test_a_hint_helps_only_where_the_text_is_silent() -> None:
    assert understand("Lale 2024 xyz", hint="tr").language == "tr"
    assert understand("The parcel came late and the box was open", hint="tr").language == "en"
    assert understand("بسته دیر رسید", hint="en").language == "fa"


@pytest.mark.parametrize(
    "text", ["Ich bin sehr zufrieden", "Доставка была очень плохой", "هذا المنتج سيء جدا ولم يصل بعد"]
)
def test_languages_without_rules_get_no_sentiment(text: str) -> None:
    answer = understand(text)
    assert (answer.sentiment, answer.sentiment_score, answer.sentiment_confidence) == ("unknown", 0.0, 0.0)


@pytest.mark.parametrize(
    ("text", "sentiment"),
    [
        ("The rug is great", "positive"),
        ("The rug is not great", "negative"),
        ("I don't like this lamp at all", "negative"),
        ("not bad at all", "neutral"),
        ("Great sofa but the delivery was terrible", "negative"),
        ("The box was damaged but the staff were amazing and solved it", "positive"),
        ("Could not be happier", "positive"),
        ("Great service, really 🙄", "negative"),
        ("Would you recommend this rug for a kids room?", "neutral"),
        ("The lamp is on the table", "unknown"),
        ("😡", "negative"),
        ("👍", "positive"),
        ("Ürünü çok beğendim", "positive"),
        ("Ürünü hiç beğenmedim", "negative"),
        ("beğenmiyorum", "negative"),
        ("memnun değilim", "negative"),
        ("Hizmetinizden memnun kalmadık", "negative"),
        ("urun hic guzel degil", "negative"),
        ("kargo hizliydi cok memnunum", "positive"),
        ("Ürün güzel ama kargo rezaletti", "negative"),
        ("fena değil", "neutral"),
        ("راضی‌ام", "positive"),
        ("راضی نیستم", "negative"),
        ("اصلا خوب نبود", "negative"),
        ("كيفيت خيلي بد بود", "negative"),
        ("ممنون از خدمات عالی شما", "positive"),
        ("جنسش خوبه ولی ارسالش افتضاح بود", "negative"),
        ("بد نبود", "neutral"),
        ("Kargo süper hızlı geldi, I love it", "positive"),
        ("فرش عالی بود، very good quality", "positive"),
    ],
)
def test_sentiment(text: str, sentiment: str) -> None:
    assert understand(text).sentiment == sentiment


@pytest.mark.parametrize(
    ("text", "issue", "department"),
    [
        ("I was overcharged and want my money back", "billing_refund", "support"),
        ("Where is my parcel?", "delivery", "support"),
        ("The kettle is faulty", "product_quality", "support"),
        ("The app keeps crashing", "bug", "support"),
        ("The agent hung up on me", "staff_service", "support"),
        ("I want to cancel my order", "cancellation", "support"),
        ("I'm locked out and the verification code never comes", "account_access", "support"),
        ("How do I wash the cushion covers?", "how_to", "support"),
        ("Please add a dark mode", "suggestion", "marketing"),
        ("The fitting rooms in the store are dirty", "store_experience", "sales"),
        ("Way too expensive", "price", "sales"),
        ("Paramı geri istiyorum, iade hâlâ yatmadı", "billing_refund", "support"),
        ("Kargom nerede?", "delivery", "support"),
        ("Ürün kırık çıktı", "product_quality", "support"),
        ("uygulama çalışmıyor", "bug", "support"),
        ("Temsilci çok kabaydı", "staff_service", "support"),
        ("Siparişimi iptal etmek istiyorum", "cancellation", "support"),
        ("sifremi unuttum giris yapamiyorum", "account_access", "support"),
        ("Keşke koyu tema eklense", "suggestion", "marketing"),
        ("Mağazada kabinler pis", "store_experience", "sales"),
        ("Çok pahalı", "price", "sales"),
        ("پولم رو پس ندادید", "billing_refund", "support"),
        ("بسته من کجاست؟", "delivery", "support"),
        ("کتری معیوب بود", "product_quality", "support"),
        ("اپلیکیشن هنگ می‌کنه", "bug", "support"),
        ("اپراتور بی‌ادب بود", "staff_service", "support"),
        ("می‌خوام سفارشم رو لغو کنم", "cancellation", "support"),
        ("رمز عبورم کار نمی‌کنه و نمی‌تونم وارد بشم", "account_access", "support"),
        ("کاش حالت شب اضافه کنید", "suggestion", "marketing"),
        ("اتاق پرو فروشگاه کثیف بود", "store_experience", "sales"),
        ("خیلی گرونه", "price", "sales"),
    ],
)
def test_issue_and_department(text: str, issue: str, department: str) -> None:
    assert issue in issues(text)
    assert understand(text).department == department


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("My lawyer will contact you", "legal_threat"),
        ("The lamp gave me an electric shock", "safety"),
        ("I am a journalist and this goes into the newspaper", "public_reach"),
        ("I need it by tomorrow, still no parcel", "deadline"),
        ("Close my account, I'm switching to another shop", "churn"),
        ("Tüketici hakem heyetine başvuracağım", "legal_threat"),
        ("lamba kivilcim cikardi", "safety"),
        ("Acil, düğünüm var", "deadline"),
        ("ازتون شکایت می‌کنم و با وکیل میام", "legal_threat"),
        ("چراغ آتیش گرفت", "safety"),
        ("دیگه از شما خرید نمی‌کنم", "churn"),
        ("The sofa is blue", None),
    ],
)
def test_urgency(text: str, reason: str | None) -> None:
    answer = understand(text)
    assert answer.urgency_reason == reason
    assert (answer.urgency == "high") == (reason is not None)


@pytest.mark.parametrize(
    ("text", "actionable"),
    [
        ("thanks a lot!", False),
        ("Teşekkürler", False),
        ("خیلی ممنون", False),
        ("Lovely rug", False),
        ("no comment", False),
        ("Where is my order?", True),
        ("Lovely rug, could you add a green one?", True),
        ("Kargom gelmedi", True),
        ("Ich warte seit drei Wochen", True),
    ],
)
def test_actionable(text: str, actionable: bool) -> None:
    assert understand(text).actionable is actionable


@pytest.mark.parametrize(
    ("text", "spam"),
    [
        ("Congratulations, you have won a free iPhone, click here http://x.example", True),
        ("Bedava iPhone kazandınız, tıklayın: www.x.example", True),
        ("برنده آیفون رایگان شدید، کلیک کنید www.x.example", True),
        ("The link https://lale.example/sofa shows an error", False),
        ("Call me on +90 555 010 01 00 about my refund", False),
        ("I won't pay $500 for a broken sofa", False),
    ],
)
def test_spam_is_flagged_with_a_reason(text: str, spam: bool) -> None:
    answer = understand(text)
    assert answer.spam is spam
    assert (answer.spam_reason is not None) is spam
    assert ("spam" in issues(text)) is spam
    assert answer.department == "none" or not spam


def test_public_rage_is_high() -> None:
    text = "Worst shop ever! Terrible, disgusting service, horrible rude staff and a total waste of money!"
    assert understand(text, public=True).urgency_reason == "public_reach"
    assert understand(text, public=False).urgency == "normal"
