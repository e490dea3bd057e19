"""What the guest's phone says, in English and in Czech."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: The languages, in the order of each pair; the first is spoken to everybody else.
LANGUAGES: Final = ("en", "cs")

PHRASES: Final[Mapping[str, tuple[str, str]]] = {
    # -- Around the phone --
    "on_this_machine": ("Everything here is played on this machine.", "Všechno se tu hraje na tomto počítači."),
    "skip": ("Skip to the guest’s phone", "Přeskočit na telefon hosta"),
    "language": ("Language", "Jazyk"),
    "where": ("Where you are", "Kde jste"),
    "restaurants": ("Restaurants", "Restaurace"),
    "no_restaurant": ("No restaurant is known here.", "Žádná restaurace tu není známa."),
    "to_the_start": ("To the start", "Na začátek"),
    "violated": ("The protocol is violated", "Protokol je porušen"),
    "waiting": ("Qerko asks the restaurant…", "Qerko se ptá restaurace…"),
    # -- The conversation --
    "conversation": ("Conversation", "Rozhovor"),
    "conversation_of": (
        "The conversation between Qerko and the point of sale",
        "Rozhovor mezi Qerkem a pokladním systémem",
    ),
    "conversation_hint": (
        "The newest first, times in UTC. Open a line to see what was said.",
        "Nejnovější nahoře, časy v UTC. Po otevření řádku uvidíte, co zaznělo.",
    ),
    "as_json": ("As JSON", "Jako JSON"),
    "live": ("Live", "Živě"),
    "not_live": ("The sandbox does not answer.", "Sandbox neodpovídá."),
    "nothing_said": ("Nothing was said yet.", "Zatím nic nezaznělo."),
    "what_it_answers": ("What it answers", "Na co odpovídá"),
    "deliver_again": ("Deliver it again", "Doručit znovu"),
    "reply": ("reply", "odpověď"),
    "kept": ("keeps the protocol", "dodržuje protokol"),
    "broken": ("violates the protocol", "porušuje protokol"),
    "look": ("needs a look", "zaslouží pozornost"),
    "hint_broke": (
        "The point of sale broke. If it is django_qerko: qerko_show {id} says where.",
        "Pokladní systém selhal. Je-li to django_qerko, řekne víc qerko_show {id}.",
    ),
    "hint_no_code": (
        "An error without a code: perhaps the point of sale broke. If it is django_qerko: qerko_show {id} says more.",
        "Chyba bez kódu: pokladní systém možná selhal. Je-li to django_qerko, řekne víc qerko_show {id}.",
    ),
    "hint_unknown": (
        "Nobody is at this address: is the webhook’s address right, and does it belong to this key?",
        "Na této adrese nikdo není: je adresa webhooku správná a patří k tomuto klíči?",
    ),
    "hint_not_understood": (
        "The point of sale did not understand what Qerko said.",
        "Pokladní systém nerozuměl tomu, co Qerko říká.",
    ),
    # -- Choosing a table --
    "tables": ("Tables", "Stoly"),
    "tables_hint": ("Choose one, as if you scanned the code on it.", "Vyberte si, jako byste načetli kód na stole."),
    "no_table_known": ("No table is known.", "Žádný stůl není znám."),
    "no_tables": ("This restaurant has no tables.", "Tato restaurace nemá stoly."),
    "another_way": ("Another way to a bill", "Jiná cesta k účtu"),
    "scan_label": ("Scan a code that the point of sale made", "Načíst kód, který vytvořil pokladní systém"),
    "scan": ("Scan", "Načíst"),
    "number_label": ("Open a bill by its number", "Otevřít účet podle čísla"),
    "open": ("Open", "Otevřít"),
    "table_n": ("Table {id}", "Stůl {id}"),
    "code_n": ("Code {code}", "Kód {code}"),
    "no_open_bill": ("There is no open bill.", "Není tu žádný otevřený účet."),
    # -- The bill --
    "bill_n": ("Bill {id}", "Účet {id}"),
    "still_to_pay": ("What is still to be paid", "Co zbývá zaplatit"),
    "nothing_left": ("Nothing is left to be paid.", "Nezbývá nic k zaplacení."),
    "total": ("Total", "Celkem"),
    "choose_items": ("What do you pay?", "Co platíte?"),
    "all_or_nothing": (
        "This bill is paid as a whole, or not at all.",
        "Tento účet se platí celý, nebo vůbec.",
    ),
    "everything": ("Everything", "Všechno"),
    "nothing": ("Nothing", "Nic"),
    "of_n": ("of {quantity}", "z {quantity}"),
    "each": ("{price} each", "{price} za kus"),
    "how_many": ("How much of it: {name}", "Kolik: {name}"),
    "less": ("Less: {name}", "Méně: {name}"),
    "more": ("More: {name}", "Více: {name}"),
    "discount": ("Discount", "Sleva"),
    "discount_offer": ("{name}, {percent} % off", "{name}, sleva {percent} %"),
    "tip": ("Tip", "Spropitné"),
    "no_tip": ("None", "Žádné"),
    "own_tip": ("Other", "Jiné"),
    "own_tip_label": ("Your tip in {currency}", "Vaše spropitné v {currency}"),
    "pay": ("Pay", "Zaplatit"),
    "pay_hint": ("You see the sum before any money moves.", "Částku uvidíte dřív, než se peníze pohnou."),
    # -- What is wrong with a choice --
    "problem_nothing": ("Choose at least one item.", "Vyberte aspoň jednu položku."),
    "problem_quantity": (
        "A quantity is a number, no more than is on the bill, and in the steps that the restaurant allows.",
        "Množství je číslo, ne větší než na účtu, a v krocích, které restaurace dovoluje.",
    ),
    "problem_tip": ("A tip is an amount, such as 20.50.", "Spropitné je částka, například 20,50."),
    "problem_changed": (
        "The bill has changed since you saw it. Look at it again, please.",
        "Účet se mezitím změnil. Podívejte se na něj prosím znovu.",
    ),
    "problem_busy": (
        "Somebody is paying this bill just now. Try again in a moment.",
        "Tento účet právě někdo platí. Zkuste to za chvíli.",
    ),
    "problem_discount": ("The discount is not offered any more.", "Sleva už se nenabízí."),
    "problem_broke": ("The sandbox itself broke; its log says where.", "Selhal sám sandbox; kde, říká jeho log."),
    # -- Paying --
    "your_payment": ("Your payment", "Vaše platba"),
    "one_moment": ("One moment", "Okamžik"),
    "phase_asking": ("Qerko asks for the bill once more…", "Qerko se znovu ptá na účet…"),
    "phase_starting": (
        "Qerko asks the restaurant whether you may pay…",
        "Qerko se ptá restaurace, zda můžete zaplatit…",
    ),
    "phase_processing": (
        "Your money has moved. The restaurant writes the receipt…",
        "Peníze odešly. Restaurace píše účtenku…",
    ),
    "phase_closing": (
        "Qerko tells the restaurant how it ended…",
        "Qerko říká restauraci, jak to dopadlo…",
    ),
    "phase_fetching": ("Qerko asks for the receipt…", "Qerko se ptá na účtenku…"),
    "may_take": ("The restaurant has 15 seconds for each answer.", "Restaurace má na každou odpověď 15 vteřin."),
    "may_pay": (
        "The restaurant holds these items for you. Now it is up to your bank.",
        "Restaurace pro vás položky drží. Teď je řada na vaší bance.",
    ),
    "confirm": ("Confirm the payment", "Potvrdit platbu"),
    "refuse": ("The bank says no", "Banka odmítne"),
    "leave": ("Walk away", "Odejít"),
    # -- How it ended --
    "paid": ("Paid", "Zaplaceno"),
    "not_paid": ("Not paid", "Nezaplaceno"),
    "no_money": ("No money was taken.", "Žádné peníze neodešly."),
    "money_back": ("Your money comes back.", "Peníze se vám vracejí."),
    "ended_refuse": ("Your bank refused the payment.", "Vaše banka platbu odmítla."),
    "ended_leave": ("You walked away, so the payment was cancelled.", "Odešli jste, a tak je platba zrušena."),
    "ended_late": (
        "You took too long to decide, so the payment was cancelled.",
        "Rozhodovali jste se příliš dlouho, a tak je platba zrušena.",
    ),
    "ended_cancelled": ("The restaurant cancelled the payment.", "Restaurace platbu zrušila."),
    "not_acknowledged": (
        "The restaurant did not take notice of how it ended.",
        "Restaurace nevzala na vědomí, jak to dopadlo.",
    ),
    "to_the_bill": ("Back to the bill", "Zpět k účtu"),
    "to_the_tables": ("To the tables", "Ke stolům"),
    # -- The receipt --
    "receipt": ("Receipt", "Účtenka"),
    "receipt_n": ("Receipt {serial}", "Účtenka {serial}"),
    "serial": ("Number", "Číslo"),
    "cash_box": ("Cash desk", "Pokladna"),
    "waiter": ("Served by", "Obsloužil(a)"),
    "issued": ("Issued", "Vystaveno"),
    "item": ("Item", "Položka"),
    "amount": ("Amount", "Částka"),
    "vat": ("VAT", "DPH"),
    "rate": ("Rate", "Sazba"),
    "base": ("Base", "Základ"),
    "tax": ("Tax", "Daň"),
    "fiscal": ("Fiscal data", "Fiskální údaje"),
    "final_price": ("The restaurant asks less", "Restaurace žádá méně"),
    "postponed": (
        "The receipt follows. The restaurant writes it later, and Qerko asks for it again.",
        "Účtenka bude následovat. Restaurace ji napíše později a Qerko se na ni zeptá znovu.",
    ),
    "still_postponed": ("The receipt is still not there.", "Účtenka stále není hotová."),
    "ask_again": ("Ask for the receipt now", "Zeptat se na účtenku teď"),
    "by_email": ("The restaurant sends the receipt by e-mail.", "Restaurace pošle účtenku e-mailem."),
    # -- What the point of sale refused --
    "they_said": ("The restaurant said", "Restaurace řekla"),
    "no_answer": ("The restaurant does not answer.", "Restaurace neodpovídá."),
    "no_answer_hint": (
        "Does the point of sale run, and is {url} its address?",
        "Běží pokladna a je {url} její adresa?",
    ),
    "no_reply": (
        "The restaurant noted the question, and gave no answer in time.",
        "Restaurace si otázku poznamenala, ale včas neodpověděla.",
    ),
    "no_reply_hint": (
        "Does its worker run, and does it send its replies to this sandbox?",
        "Běží její worker a posílá odpovědi tomuto sandboxu?",
    ),
    "refused": ("The restaurant refuses.", "Restaurace odmítá."),
    "refused_broke": ("Something broke at the restaurant.", "V restauraci se něco pokazilo."),
    "refused_400": ("The restaurant did not understand Qerko.", "Restaurace Qerku nerozuměla."),
    "refused_401": ("The restaurant takes Qerko for a stranger.", "Restaurace považuje Qerko za cizího."),
    "refused_404": ("There is no restaurant at this address.", "Na této adrese žádná restaurace není."),
    "refused_410": ("For the restaurant, the question came at a wrong time.", "Podle restaurace přišla otázka nevčas."),
    "unreadable": ("Qerko cannot read the answer.", "Qerko odpověď nepřečte."),
    "code_ACCESS_DENIED": ("The restaurant does not allow this.", "Restaurace to nedovoluje."),
    "code_BAD_PARAMETER": (
        "The restaurant does not accept what you chose.",
        "Restaurace nepřijímá, co jste vybrali.",
    ),
    "code_BAD_PAYLOAD": ("The restaurant did not understand Qerko.", "Restaurace Qerku nerozuměla."),
    "code_BILL_CLOSED": ("This bill is closed: nothing is left to pay.", "Tento účet je uzavřený: není co platit."),
    "code_BILL_NOT_FOUND": ("The restaurant does not know this bill.", "Restaurace tento účet nezná."),
    "code_NO_SUCH_METHOD": ("The restaurant cannot do this.", "Restaurace tohle neumí."),
    "code_NOT_FOUND": ("The restaurant does not know it.", "Restaurace to nezná."),
    "code_QR_INVALID": ("This code leads to no bill.", "Tento kód nevede k žádnému účtu."),
    "code_TIME_LIMIT_EXPIRED": ("The restaurant was too slow.", "Restaurace to nestihla."),
    "code_UNAUTHORIZED": ("The restaurant takes Qerko for a stranger.", "Restaurace považuje Qerko za cizího."),
    # -- The sandbox's own notices --
    "error_403": ("Not allowed", "Nedovoleno"),
    "error_404": ("Not found", "Nenalezeno"),
    "error_404_text": ("There is nothing at this address.", "Na této adrese nic není."),
    "error_500": ("This did not work", "Tohle nevyšlo"),
}
