"""Whose the scores are that are read: the model of the last name, settings or label above them."""

from __future__ import annotations

from evalkit.baselines.published import Note, PrintedScore, ScoreTable
from evalkit.baselines.reading.commands import who
from evalkit.baselines.reading.open_models import OpenModel
from evalkit.baselines.reading.place import Place
from evalkit.baselines.reading.prose import Event, Label, ModelHeading, OtherHeading, SuiteHeading
from evalkit.baselines.reading.vocabulary import is_name, is_version, name_in
from evalkit.baselines.reading.whose import name_key, still_below, title_line
from evalkit.baselines.reading.wording import same_model
from evalkit.results.harness_settings import is_placeholder


class Owners:
    """The models of a file, and the one that the next scores are of."""

    def __init__(self, events: list[Event], place: Place, notes: list[Note], own: str) -> None:
        self.current = OpenModel(None, events[0].line if events else 0)
        self.models = [self.current]
        self.candidate: ModelHeading | None = None  # last heading that may be a model's name
        self._place = place
        self._notes = notes
        self._title = title_line(events)
        titles = (e.name for e in events if isinstance(e, ModelHeading) and e.line == self._title)
        self._titled = next(titles, None)
        self._own = own  # the name of the file
        self._labels: list[Label] = []  # lines since the last table that say something beside the known words
        self._short_labels: set[str] = set()  # what those of the file's labels say that are no sentences
        self._headed: list[Label] = []  # those of the labels that the next scores stand below
        self._headed_by: dict[int, int] = {}  # line -> level of the headings of Markdown
        self._lent = 0  # level below which a heading ends what a label above the file's first scores says; 0 without

    def label(self, event: Label) -> None:
        self._short_labels |= {event.text} if event.short or event.names else set()
        self._labels.append(event)
        self._headed.append(event)

    def go_below(self, event: SuiteHeading | OtherHeading, line_before: int) -> None:
        """Go below a heading of Markdown; `line_before` is the last line above it that says something."""
        self._headed_by[event.line] = event.level
        if event.level < self._lent:
            self.current, self._lent = self.models[0], 0
        self._headed = [h for h in self._headed if still_below(h, event, adjacent=h.line == line_before)]

    def begin(self, name: str | None, line: int, *, new: bool = False, inside: bool = False) -> None:
        """Go on with a model: that of the name, if it was there before, unless the numbers say that it is new.

        A label `inside` a suite's heading leaves the suite as it is.
        """
        keys = [(m, (name_key(m.name), name_key(m.pretrained))) for m in self.models]
        known = [m for m, names in keys if name is not None and name_key(name) in names]
        if known and not new:
            self.current = known[0]
        else:
            self.current = OpenModel(name, line)
            self.models.append(self.current)
        self._labels.clear()
        self._headed = []
        self.current.label = self.current.label or name
        self._place.leave_rows()
        if not inside:
            self._place.leave_suite()

    def load(self, settings: dict[str, str], line: int) -> None:
        """Go on with the model that a line of settings names: the same only if all that it says of it is the same."""
        names = ("pretrained", "path", "engine", "model", "base_url")
        loaded = next((settings[key].strip("/ ") for key in names if settings.get(key, "").strip("/ ")), None)
        identity = who(settings)
        current = self.current
        if current.tables and current.identity not in (None, identity):
            beside = current.identity or ()
            if current.name is None and current.pretrained == loaded:
                differing = [f"{k}={v}" for k, v in beside if (k, v) not in identity]
                current.name = " ".join([loaded or "", *differing]).strip()
            current.name = current.name or current.pretrained
            known = [m for m in self.models if m.identity == identity and m is not current]
            if known:
                self.current = known[0]
                self.begin(known[0].name, line, inside=True)
            else:
                others = [m.identity for m in self.models if m.identity is not None and m.pretrained == loaded]
                own = [f"{k}={v}" for k, v in identity if others and (k, v) not in others[-1]]
                self.begin(" ".join([loaded or "", *own]).strip() or None, line, new=True, inside=True)
        elif loaded and current.identity is None and current.name is None and self._is_strange(loaded):
            if not current.empty and (self._titled or is_name(self._own)):
                self.begin(loaded, line, inside=True)
            self.current.loaded_line = line
        elif current.empty and current.loaded_line is not None:
            current.loaded_line = line
        elif not current.tables and current.pretrained not in (None, loaded) and not current.empty:
            current.name = current.name or current.pretrained
            self.begin(loaded, line, inside=True)
        self.current.pretrained, self.current.identity = loaded or self.current.pretrained, identity

    def divide(self, table: ScoreTable) -> None:
        """Give a second run the harness's line that stands between it and a first one, which has no name then."""
        first = self.current
        if first.loaded_line is None or not first.tables or first.loaded_line < first.tables[-1].line:
            return
        if any((row.task, row.metric) in first.rows for row in table.rows):
            self.begin(first.pretrained, table.line, new=True, inside=True)
            self.current.pretrained, self.current.identity = first.pretrained, first.identity
            self.current.loaded_line = first.loaded_line
            first.pretrained = first.identity = first.loaded_line = None

    def _is_strange(self, loaded: str) -> bool:
        """Tell whether the harness loaded another model than the one that the file is called after."""
        return not is_placeholder(loaded) and not same_model(loaded, self._titled or self._own)

    def settle(self, score: ScoreTable | PrintedScore) -> None:
        """Begin another model where what stands above a table says something that did not stand above the last one.

        The name that the file has is that of scores which no other label stands above.
        """
        named = [label for label in self._headed if label.line < score.line and label.line != self._title]
        self._headed = []
        if self._named_first(named, score):
            return
        above = [label for label in self._labels if label.line < score.line]
        if isinstance(score, PrintedScore):  # a sentence between averages says something of them, or of nothing
            above = [label for label in above if label.short or label.names]
        self._labels.clear()
        if not above:
            return
        text, current = above[-1].text, self.current
        if current.empty if isinstance(score, PrintedScore) else not current.tables:
            current.label = current.label or text
        elif name_key(text) not in (name_key(current.label), name_key(current.name)):
            current.name = current.name or (current.label if current.label in self._short_labels else self._titled)
            known = [m for m in self.models if name_key(m.label) == name_key(text)]
            theirs = text if text in self._short_labels else None  # the words of a sentence are nobody's name
            name = known[0].name if known and known[0].name else theirs
            self.begin(name, score.line, inside=self._place.heading is not None)
            self.current.label = text
            self._notes.append(Note(score.line, f"'{text[:60]}' stands above it: read as another model"))

    def _named_first(self, named: list[Label], score: ScoreTable | PrintedScore) -> bool:
        """Give a nameless model's first scores to the model that the last label above them names, if it names one."""
        if not (self.current.empty and self.current.name is None and named):
            return False
        label = named[-1]
        # Where the file has others' scores already, what says anything may name one more.
        own = label.short and is_version(label.text) and self._titled is not None
        if not (label.names or own or (len(self.models) > 1 and label.short)):
            return False
        name = f"{self._titled} {label.text}" if own else name_in(label.text)
        self.begin(name, score.line, inside=self._place.heading is not None)
        # A line of text right above the scores is theirs alone; above headings, that of all that they head.
        headings = [level for line, level in self._headed_by.items() if line > label.line]
        self._lent = min(label.level + 1 if label.level else 7, headings[0] if headings else 7)
        self._notes.append(Note(score.line, f"'{label.text[:60]}' stands above it: read as that model's"))
        return True
