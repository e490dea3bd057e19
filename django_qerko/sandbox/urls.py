"""The sandbox's own addresses; no project includes them."""

from __future__ import annotations

from typing import Final

from django.urls import path, register_converter
from django.urls.converters import PathConverter

from django_qerko.sandbox import api, checkout, pages


class TextConverter(PathConverter):
    """An id of a stranger's, whatever it holds: Django's own converter stops at a line break."""

    regex = r"[\s\S]+"


register_converter(TextConverter, "qerko_text")

urlpatterns: Final = [
    path("", pages.front, name="front"),
    path("style.css", pages.style, name="style"),
    path("script.js", pages.script, name="script"),
    path("language/", checkout.language, name="language"),
    path("conversation/", pages.news, name="news"),
    path("conversation/<int:number>/again/", checkout.again, name="again"),
    path("conversation.json", pages.conversation, name="conversation"),
    path("<int:number>/", pages.restaurant, name="restaurant"),
    path("<int:number>/search/", pages.search, name="search"),
    path("<int:number>/tables/<qerko_text:table_id>/", pages.table, name="table"),
    path("<int:number>/bills/", pages.find_bill, name="find-bill"),
    path("<int:number>/bills/<qerko_text:bill_id>/", pages.bill, name="bill"),
    path("<int:number>/pay/<qerko_text:bill_id>/", checkout.pay, name="pay"),
    path("<int:number>/payments/<uuid:payment_id>/", checkout.payment, name="payment"),
    path("<int:number>/payments/<uuid:payment_id>/progress/", checkout.progress, name="progress"),
    path("<int:number>/payments/<uuid:payment_id>/decide/", checkout.decide, name="decide"),
    path("<int:number>/payments/<uuid:payment_id>/receipt/", checkout.ask_receipt, name="ask-receipt"),
    path("api/v4/pos/who-am-i", api.who_am_i, name="who-am-i"),
    path("api/v4/pos/reply", api.reply, name="reply"),
    path("api/v4/pos/get-payment", api.get_payment, name="get-payment"),
    path("api/v4/pos/cancel-payment", api.cancel_payment, name="cancel-payment"),
]
