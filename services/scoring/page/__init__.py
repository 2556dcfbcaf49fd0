"""The quarterly report as one page that needs nothing else: to read, to print, to pass on."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from services.scoring.domain.report import QuarterReport
from services.scoring.page.chart import weekly_chart
from services.scoring.page.wording import Language, Wording, undirected

_ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(report: QuarterReport, language: Language) -> str:
    """The page. All that people wrote is escaped, and isolated from the direction of the text around it."""
    say = Wording(language)
    return _ENVIRONMENT.get_template("quarter.html").render(
        report=report,
        say=say,
        t=say.text,
        undirected=undirected,
        scores={(one.metric, one.survey_type): one.score for one in report.scores},
        least_n=max((one.score.minimum_n for one in report.scores), default=None),
        chart=lambda one: weekly_chart(one, say),
    )
