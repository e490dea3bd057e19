"""Read, and touch nothing: the admin of rows that only the road may change."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin
from django.contrib.admin.sites import AdminSite
from django.contrib.admin.utils import quote
from django.contrib.admin.views.main import ChangeList
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join

from django_qerko.tending import legible
from django_qerko.tending.timeline import Moment, when

if TYPE_CHECKING:
    _Admin = admin.ModelAdmin[Any]
    _Inline = admin.StackedInline[Any, Any]
    _Table = admin.TabularInline[Any, Any]
else:
    _Admin = admin.ModelAdmin
    _Inline = admin.StackedInline
    _Table = admin.TabularInline

#: What a page shows where nothing is kept.
NOTHING: Final = "-"


class _Untouched:
    """Nobody adds, changes or deletes here, whatever their permissions are; who may look is the project's to say."""

    def has_add_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False


class BriefList(ChangeList):
    """The list does without what is large, or stands in other tables; the page of one row shows it."""

    def get_queryset(self, *args: Any, **kwargs: Any) -> Any:
        rows: Any = super().get_queryset(*args, **kwargs)
        return rows.prefetch_related(None).in_brief()


class ReadOnlyAdmin(_Untouched, _Admin):
    """Shows the fields that it names and no other; its lists count only what they show, so that they stay quick."""

    show_full_result_count = False
    list_per_page = 50

    class Media:
        css = {"all": ["django_qerko/admin.css"]}


class ReadOnlyBriefAdmin(ReadOnlyAdmin):
    """The same for rows that hold something large."""

    def get_changelist(self, request: HttpRequest, **_: Any) -> type[ChangeList]:
        return BriefList


class ReadOnlyInline(_Untouched, _Inline):
    """The same, inside the page of another row, under a heading that names it."""

    extra = 0


class ReadOnlyTable(_Untouched, _Table):
    """Rows that are a part of the page's own row: whoever may look at that sees them."""

    extra = 0

    def has_view_permission(self, request: HttpRequest, *_: Any) -> bool:
        return True


class MarkFilter(admin.SimpleListFilter):
    """Rows that bear a mark."""

    #: The question of their QuerySet, and the name in the address.
    parameter_name: str

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "yes")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        marked: QuerySet[Any] = getattr(queryset, self.parameter_name)()
        return marked if self.value() == "yes" else queryset


def shown_document(kept: bytes | memoryview | None) -> str:
    """Bytes that were kept, as a page shows them."""
    return NOTHING if kept is None else shown_text(legible.pretty(bytes(kept)))


def shown_json(kept: object) -> str:
    """A JSON value that was kept, as a page shows it."""
    return shown_text(legible.pretty(json.dumps(kept).encode()))


def shown_identity(identity: str | None) -> str:
    """An id in a list: its beginning, and whole for a pointer that rests on it, for copying and for searching."""
    return NOTHING if identity is None else format_html('<span class="qerko" title="{0}">{0}</span>', identity)


def shown_text(text: str) -> str:
    """Text whose line breaks count."""
    return format_html('<pre class="qerko">{}</pre>', text) if text else NOTHING


def shown_lines(lines: Iterable[str]) -> str:
    """Lines, one below the other."""
    return format_html_join("", "<div>{}</div>", ((line,) for line in lines)) or NOTHING


def shown_moments(moments: Iterable[Moment]) -> str:
    """What happened, in its order."""
    items = ((when(moment.at), moment.what) for moment in moments)
    return format_html('<ol class="qerko">{}</ol>', format_html_join("", "<li>{} {}</li>", items))


def shown_mark(text: str) -> str:
    """What a person must not overlook: framed, and in words, so that it needs no colour."""
    return format_html('<strong class="qerko">{}</strong>', text)


def shown_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table inside a page."""
    head = format_html_join("", '<th scope="col">{}</th>', ((heading,) for heading in headings))
    lines = ((format_html_join("", "<td>{}</td>", ((cell,) for cell in row)),) for row in rows)
    body = format_html_join("", "<tr>{}</tr>", lines)
    if not body:
        return NOTHING
    return format_html('<table class="qerko"><thead><tr>{}</tr></thead><tbody>{}</tbody></table>', head, body)


def linked(site: AdminSite, row: Model, text: str) -> str:
    """A link to the page of a row."""
    page = f"admin:{row._meta.app_label}_{row._meta.model_name}_change"
    return format_html('<a href="{}">{}</a>', reverse(page, args=[quote(row.pk)], current_app=site.name), text)
