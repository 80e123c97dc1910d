"""What the sender wrote this time, apart from what a mail program, a gateway or an earlier mail put around it.

The principle: *new* is what a person typed for this mail.  A greeting, a closing and a typed name ("Thanks, Jo") are
theirs and stay; a line of role or telephone number under the name stays too.  What a program adds goes: warnings of a
gateway above the text, quoted history, a signature after "-- ", a card of two or more lines (role, organisation,
number, address) with the sign-off that leads into it, the tag of a telephone, and a footer of the house.  In doubt text
stays: a line too many is read over, a line too few is a call for help that nobody saw.

The rules, in the order of the code:

1. Warnings above the text ("CAUTION: This email originated from outside") are dropped.
2. History begins at an *introduction*: a marker ("-----Original Message-----"), a block of header fields, or an
   attribution ("On ... wrote:").  Lines quoted with ">" may follow, and what stands between them is an answer.
   Without ">" all that follows is history.
3. Without any introduction, ">" is a quote only where the text begins or ends with it; elsewhere it is a typed arrow.
4. Each piece that is left loses mobile tags, footers, the signature and the card at its end.
5. *new* is never empty when there is a text: it falls back to the message that was passed on, then to all of it.

Every rule looks at a bounded number of lines around one line and at a bounded part of a line, so the cost is linear.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

# An attribution is wrapped over at most this many lines: Gmail wraps at 78, a long name and address fill three.
_ATTRIBUTION_LINES = 4
# "Am Dienstag, dem" may stand alone on the first line of a wrapped attribution.
_SHORT_OPENING = 16
# Longer than any real attribution, field or card line; what is longer is prose and needs no closer look.
_LINE_LIMIT = 400
# Outlook writes From, Sent, To, Cc, Importance, Subject; long recipient lists are wrapped in between.
_HEADER_BLOCK_LINES = 14
# RFC 3676 4.3 leaves the length open; a signature with address, slogan and links seldom has more lines.
_SIGNATURE_LINES = 16
# Where a card is looked for, its longest line, and how many lines of slogans or working days may stand under it.
_CARD_WINDOW = 24
_CARD_LINE_LIMIT = 200
_LINES_UNDER_A_CARD = 4


def _words(listed: str) -> tuple[str, ...]:
    """Return the phrases of *listed*, which stand apart by a bar, one line for each language."""
    return tuple(listed.split("|"))


_FIELDS = {
    "from": (
        "from|od|nuo|de|de la|dela|expeditor|remetente|von|da|van|afzender|fra|från|lähettäjä|feladó|от|від|"
        "منجانب|از طرف|از|من|发件人|kimden|prej"
    ),
    "date": (
        "sent|date|wysłano|wysłane|data|išsiųsta|siunčiama|enviado|enviada|enviada em|enviado em|trimis|"
        "dată|data trimiterii|gesendet|datum|envoyé|fecha|enviado el|inviato|verzonden|odesláno|datum odeslání|sendt|"
        "skickat|lähetetty|elküldve|dato|отправлено|дата|надіслано|"
        "بھیجا گیا|بھیجا|تاریخ|ارسال|发送时间|gönderildi|dërguar"
    ),
    "to": (
        "to|do|kam|kopia do|para|către|catre|pentru|an|à|a|aan|komu|til|till|vastaanottaja|címzett|кому|"
        "بنام|کو|برائے|به|إلى|收件人|kime|për"
    ),
    "cc": "cc|dw|kopija|kopia|cópia|copie|kopie|copia|cc/cci|bcc|udw|کاپی|نقل|копия|копія|抄送",
    "subject": (
        "subject|temat|tema|assunto|subiect|subiectul|betreff|objet|asunto|oggetto|onderwerp|předmět|predmet|emne|ämne|"
        "aihe|tárgy|тема|موضوع|عنوان|主题|konu|lënda"
    ),
    "other": "reply-to|importance|priority|attachments|message-id|mime-version|content-type|status|x-status|"
    "ważność|wichtigkeit|importance|importância|importanță|priorita",
}
_KIND_OF_FIELD = {name: kind for kind, names in _FIELDS.items() for name in names.split("|")}

_ORIGINAL = frozenset(
    _words(
        "original message|original appointment|reply message|wiadomość oryginalna|oryginalna wiadomość|"
        "pradinis laiškas|"
        "pirminis laiškas|originalus laiškas|pradinis pranešimas|mensagem original|mesaj original|mesajul original|"
        "mesaj inițial|ursprüngliche nachricht|originalnachricht|ursprüngliche mail|message d'origine|message original|"
        "mensaje original|messaggio originale|oorspronkelijk bericht|origineel bericht|původní zpráva|původní e-mail|"
        "اصل پیغام|original email|original mail|oprindelig meddelelse|ursprungligt meddelande"
    )
)
_FORWARDED = frozenset(
    _words(
        "forwarded message|begin forwarded message|forwarded by|forwarded mail|forwarded email|przekazana wiadomość|"
        "wiadomość przekazana dalej|treść przekazanej wiadomości|przekazywana wiadomość|"
        "początek przekazywanej wiadomości|"
        "początek przekazanej wiadomości|persiųstas laiškas|persiunčiamas laiškas|persiųsta žinutė|"
        "persiųstas pranešimas|"
        "persiunčiamas pranešimas|mensagem encaminhada|mensagem reencaminhada|início da mensagem encaminhada|"
        "início da mensagem reencaminhada|mesaj redirecționat|mesaj redirectionat|mesaj înaintat|"
        "începutul mesajului redirecționat|mesaj transmis mai departe|weitergeleitete nachricht|"
        "anfang der weitergeleiteten nachricht|weitergeleitete mail|message transféré|message réexpédié|"
        "début du message réexpédié|début du message transféré|mensaje reenviado|inicio del mensaje reenviado|"
        "messaggio inoltrato|inizio messaggio inoltrato|doorgestuurd bericht|begin doorgestuurd bericht|"
        "přeposlaná zpráva|"
        "předaná zpráva|začátek přeposílané zprávy|začátek přeposlané zprávy|آگے بھیجا گیا پیغام|فارورڈ کردہ پیغام|"
        "آگے بھیجے گئے پیغام"
    )
)
_FORWARD_FROM = ("forwarded message from ", "forwarded by ")
_FORWARD_END = ("end forwarded message", "end of forwarded message", "forwarded message ends", "end original message")
_FORWARD_SUBJECT = re.compile(
    r"\s{0,3}(?:\[[^\]]{0,40}\]\s{0,3})?(?:fwd?|pd|podaj dalej|wg|tr|enc|rv|i|doorst|fs|přep|persiunčiu|persiųsta|"
    r"vs)\s{0,2}:",
    re.I,
)

_REPLY_SUBJECT = re.compile(r"\s{0,3}(?:\[[^\]]{0,40}\]\s{0,3})?(?:re|aw|odp|ats|res|sv|antw|vá|rif|ynt)\s{0,2}:", re.I)

# The verb ends an attribution ("Jane wrote:") in most languages ...
_VERB_LAST = _words(
    "wrote|writes|said|napisał(a)|napisał|napisała|napisali|pisze|rašė|parašė|escreveu|a escrit|a scris|scrie|schrieb|"
    "a écrit|escribió|ha scritto|scrisse|geschreven|schreef|napsal(a)|napsal|napsala|napísal(a)|napísal|skrev|"
    "kirjoitti|"
    "írta|ezt írta|написал(а)|написал|написала|пише|пишет|написав|نے لکھا|نے تحریر کیا|لکھا|لکھتے ہیں|كتب|نوشت|写道|"
    "şunu yazdı|yazdı|shkroi"
)
# ... and in these stands before the name ("Am 3.11.2026 um 09:12 schrieb Jane:").
_VERB_INSIDE = (
    " schrieb ",
    " schreef ",
    " skrev ",
    " wrote in ",
    " wrote on ",
    " hat geschrieben",
    " het volgende geschreven",
    " napisana przez ",
)
_OPENERS = re.compile(
    r"(?:on|am|le|el|il|op|wiadomość|w dniu|dnia|em|no dia|a|în data de|în|pe|la|dne|den|de|data|em data de|at|in|"
    r"(?:mon|tue|wed|thu|fri|sat|sun|pon|wt|śr|czw|pt|sob|niedz|ndz|pr|an|tr|kt|pn|št|sk|seg|ter|qua|qui|sex|sáb|dom|"
    r"lun|mar|mie|joi|vin|sâm|dum|mo|di|mi|do|fr|sa|so|po|út|st|čt|pá|ne|mié|jue|vie|gio|ven|mer|sam|dim|jeu|"
    r"ma|wo|vr|za|zo|بروز|منگل|پیر|بدھ|جمعرات|جمعہ|ہفتہ|اتوار)"
    r"[a-ząćęłńóśźżčšžěíáéêãçñü]{0,12})[\s.,،:]",
    re.I,
)
_DATE_FIRST = re.compile(
    r"(?:\d{4}[-./]\s?\d{1,2}[-./]\s?\d{1,2}|\d{4} m\.|\d{1,2}[-./ ]{1,2}(?:\d{1,2}|"
    r"[^\W\d]{3,12}\.?)[-./, ]{1,3}\d{2,4})"
)
_YEAR = re.compile(r"(?<!\d)(?:(?:19|20)\d\d|\d{1,2}[/.]\d{1,2}[/.]\d\d)(?!\d)")
_ADDRESS = re.compile(r"[^\s<>@]{1,64}@[^\s<>@]{1,255}")

# Proofpoint marks its box with these, for its own use.
_PROOFPOINT_START = "ZjQcmQRYFpfptBannerStart"
_PROOFPOINT_END = "ZjQcmQRYFpfptBannerEnd"
_BANNERS = _words(
    "zjqcmqryfpfptbannerstart|this message is from outside|this email was sent from outside|"
    "this message was sent from outside|external email:|external message|this message came from an external|"
    "caution:|caution!|caution -|warning:|warning!|[external|external email|external sender|external mail|external:|"
    "*external|**external|this email originated from outside|this message originated from outside|"
    "this email has originated|this email came from outside|this message came from outside|"
    "this message is from an external|"
    "this email is from an external|this is an external email|this sender is external|be careful with this message|"
    "you don't often get email from|you don’t often get email from|"
    "some people who received this message don't often get email from|"
    "some people who received this message don’t often get email from|you have not previously corresponded|"
    "do not click|do not click links|learn why this is important|thinking about clicking|think before you click|"
    "attention: external|attention : |attention: this email|achtung: externe|externe e-mail|uwaga: wiadomość|"
    "uwaga! wiadomość|uwaga: ta wiadomość|wiadomość zewnętrzna|nie otrzymujesz często wiadomości|išorinis laiškas|"
    "dėmesio: |atenção: este|atenție: acest|expeditor extern|atención: este|attenzione: questa|let op: deze|"
    "sie erhalten nicht häufig|sie erhalten nicht oft|vous n’obtenez pas souvent|vous n'obtenez pas souvent|"
    "no suele recibir correo|non si riceve spesso|u ontvangt niet vaak"
)
_BANNER_WORDS = re.compile(
    r"outside|external|extern|originated|don.t often get|recognise|recognize|unless you|links|attachment|zewn|iš išor|"
    r"unknown sender|spoof|phish|learn why|häufig|souvent|pièces|Anhänge|załącznik|verify the sender|corresponded",
    re.I,
)
# "CAUTION: links are broken" may be a person's; one of these is a gateway's.
_BANNER_PROOF = re.compile(
    r"outside (?:of )?(?:the|your|our|this|all|my)|extern|originated|don.t often get|unknown sender|"
    r"do not click|not previously|zewn|często|iš išor|häufig|souvent|suele|spesso|vaak|esterno|ZjQcmQ",
    re.I,
)
_BRACKET_BANNER = re.compile(
    r"\s{0,3}(?:\*{0,2})(?:\[\s?(?:external|ext|external email|external sender|caution[^\]]{0,40}|extern|zewnętrzny|"
    r"externe|esterno|externo)[^\]]{0,40}\])(?:\*{0,2})\s{0,3}",
    re.I,
)

_MOBILE_TAGS = _words(
    "sent from my |sent from outlook|sent from mail for|sent from yahoo|sent from samsung|sent from proton|sent from |"
    "sent via |sent with |sent by |yahoo mail: |sent using |get outlook for|get bluemail|download outlook for|"
    "typed on my |"
    "wysłane z |wysłano z |wysłane za |pobierz aplikację outlook|pobierz program outlook|uzyskaj aplikację outlook|"
    "išsiųsta iš |siųsta iš |siunčiama iš |atsisiųsti „outlook|gauti „outlook|"
    "enviado do meu |enviado a partir |enviado de meu |enviado de mi |enviado desde |enviado do |enviado de |"
    "obter o outlook|"
    "obtenha o outlook|obtener outlook|trimis de pe |trimis din |trimis de la |descărcați outlook|obțineți outlook|"
    "von meinem |gesendet von |gesendet mit |diese nachricht wurde von meinem|holen sie sich outlook|outlook für |"
    "envoyé de |envoyé depuis |envoyé à partir |obtenir outlook|télécharger outlook|inviato da |ottieni outlook|"
    "scarica outlook|"
    "verzonden vanaf |verstuurd vanaf |verzonden met |outlook voor |download outlook voor |"
    "odesláno z |odesláno pomocí |získat outlook|odoslané z |skickat från |sendt fra |"
    "المرسل من|أرسلت من|أُرسلت من|میرے iphone سے|میرے آئی فون سے|iphone سے بھیجا"
)
_TAG_HEADS = frozenset(tag[:3] for tag in _MOBILE_TAGS)
_TAG_DEVICE = re.compile(
    r"iphone|ipad|android|outlook|mail|galaxy|samsung|huawei|phone|mobile|telefon|smartfon|device|tablet|blackberry|"
    r"windows|nokia|xiaomi|redmi|pixel|proton|yahoo|hmail|k-9|telemóvel|móvil|cellulare|portable|aqua|orange|"
    r"handy|smartphone|mobil|آئی فون|watch|oneplus|honor|oppo|motorola|\bapp\b",
    re.I,
)
_URL = re.compile(r"[<(\[]{0,2}(?:https?://|www\.)[^\s<>()\[\]]{1,2000}[>)\]]{0,2}", re.I)

_FOOTER_STARTS = _words(
    "this e-mail message|this email message|this email and its|this e-mail and its|this message and its|this mail and|"
    "this email and any|this e-mail and any|this email, and any|this e-mail, and any|this message and any|"
    "this email (and any|this e-mail (and any|this email (including|this message (including|this email including|"
    "this e-mail (including|this communication |this transmission |this electronic |"
    "this email is confidential|this e-mail is confidential|this message is confidential|this email is intended|"
    "this e-mail is intended|this message is intended|this email contains|this e-mail contains|this message contains|"
    "this email may contain|this message may contain|this e-mail may contain|"
    "the information in this email|the information in this e-mail|the information contained in|"
    "the information transmitted|the contents of this email|the contents of this e-mail|the content of this email|"
    "information in this email|information contained in this|any views or opinions|the views expressed|"
    "any opinions expressed|confidentiality notice|confidentiality:|confidential:|confidentiality statement|"
    "confidentiality and|privileged and confidential|private and confidential:|disclaimer|disclaimer:|email disclaimer|"
    "legal notice|important notice:|privacy notice:|data protection:|gdpr:|if you are not the intended|"
    "if you have received this|if you received this|if you've received this|"
    "please consider the environment|please think of the environment|think before you print|"
    "consider the environment|save paper|save a tree|before printing|think green|go green|🌳|🌱 |🌲|"
    "virus-free|this email has been checked for viruses|this email has been scanned|this message has been scanned|"
    "this e-mail has been scanned|scanned by|this email was scanned|checked by avg|no virus found|"
    "message scanned by|mail scanned by|email scanned by|scanned for viruses|this incoming email|"
    "we value your privacy|the school accepts no liability|all saints' accepts no liability|"
    "registered in england|registered office|registered charity|a company limited by guarantee|"
    "ta wiadomość i wszelkie|ta wiadomość może|ta wiadomość jest|niniejsza wiadomość|treść tej wiadomości|"
    "wiadomość ta|informacja zawarta|klauzula poufności|informacje zawarte w|ta wiadomość e-mail|"
    "šis laiškas|šiame laiške|šis el. laiškas|šis elektroninis|šiame el. laiške|konfidencialumo|"
    "esta mensagem|este e-mail|este email|a informação contida|as informações contidas|aviso de confidencialidade|"
    "aviso legal|antes de imprimir|"
    "acest mesaj|acest e-mail|acest email|acest mail|informațiile conținute|mesajul este confidențial|"
    "clauză de confidențialitate|"
    "vă rugăm să vă gândiți la mediu|"
    "diese e-mail|diese nachricht|diese mail|der inhalt dieser|vertraulichkeitshinweis|bitte denken sie an die umwelt|"
    "denken sie an die umwelt|bitte prüfen sie, ob|"
    "ce message|ce courriel|ce mail|les informations contenues|cet e-mail|cet email|avis de confidentialité|pensez à l|"
    "avant d'imprimer|n'imprimez|merci de ne pas imprimer|"
    "este mensaje|este correo|la información contenida|aviso de confidencialidad|este e-mail|piense en el medio|"
    "questo messaggio|questa e-mail|questa email|le informazioni contenute|avviso di riservatezza|ai sensi del|"
    "prima di stampare|rispetta l'ambiente|"
    "dit bericht|deze e-mail|dit e-mailbericht|deze email|de informatie in dit|denk aan het milieu|"
    "tento e-mail|tato zpráva|tento email|informace obsažené|obsah této zprávy|"
    "یہ ای میل|یہ پیغام|اس ای میل|"
    "you received this message because you are subscribed|to unsubscribe from this group|to unsubscribe|unsubscribe:|"
    "mailing list|_______________________________________________ "
)
_FOOTER_HEADS = frozenset(start[:3] for start in _FOOTER_STARTS)
# Some of these also open sentences ("this message contains an error"), so one of these words must follow.
_FOOTER_WORDS = re.compile(
    r"confiden|intended|recipient|privileg|virus|malware|avast|avg\b|mimecast|sophos|barracuda|scanned|disclos|"
    r"unauthori[sz]ed|"
    r"environment|print|liab|legal|opinions|views|delete|notify|registered|subscri|protect|gdpr|mailing list|"
    r"poufn|adresat|konfidencial|adresuot|gavėj|confidencial|destinat|confidențial|confidential|destinatar|vertraulich|"
    r"empfänger|umwelt|confidentiel|environnement|imprim|riservat|ambient|stampa|vertrouwelijk|geadresseerde|milieu|"
    r"důvěrn|adresát|medio|mediu|خفیہ|راز|paper|tree",
    re.I,
)

_SIGN_OFFS = frozenset(
    _words(
        "kind regards|kindest regards|warm regards|warmest regards|best regards|with regards|regards|best wishes|"
        "all the best|"
        "warm wishes|with best wishes|with kind regards|with thanks|many thanks|thanks and regards|thanks & regards|"
        "thanks|"
        "thank you|thx|cheers|ta|best|yours sincerely|yours faithfully|yours truly|yours|sincerely|respectfully|kr|br|"
        "rgds|"
        "take care|god bless|with gratitude|thanks in advance|cordially|"
        "pozdrawiam|pozdrawiam serdecznie|serdecznie pozdrawiam|z poważaniem|z wyrazami szacunku|dziękuję|dzięki|"
        "pozdrowienia|"
        "pagarbiai|su pagarba|geros dienos|ačiū|linkėjimai|"
        "atenciosamente|cumprimentos|com os melhores cumprimentos|melhores cumprimentos|obrigado|obrigada|abraço|att|"
        "cu stimă|cu stima|cu respect|mulțumesc|multumesc|cu drag|o zi bună|cele bune|"
        "mit freundlichen grüßen|mit freundlichem gruß|mit besten grüßen|freundliche grüße|viele grüße|liebe grüße|"
        "beste grüße|schöne grüße|mfg|lg|vg|danke|vielen dank|"
        "cordialement|bien cordialement|bien à vous|sincères salutations|salutations|merci|amicalement|"
        "saludos|un saludo|saludos cordiales|un cordial saludo|atentamente|gracias|muchas gracias|"
        "cordiali saluti|distinti saluti|saluti|un saluto|grazie|"
        "met vriendelijke groet|met vriendelijke groeten|vriendelijke groet|groeten|groetjes|mvg|bedankt|"
        "s pozdravem|s přátelským pozdravem|hezký den|děkuji|díky|"
        "شکریہ|والسلام|خدا حافظ|آپ کا مخلص|نیک تمنائیں"
    )
)
# "Many thanks for all your help", "Best wishes and thanks": a closing formula may run on with such words.
_THANKS = (
    "thanks",
    "many thanks",
    "thank you",
    "best wishes",
    "kind regards",
    "warm",
    "with many",
    "with kind",
    "best",
)
_CLOSING_WORDS = frozenset(
    _words(
        "thanks|thank|you|many|so|very|much|again|in|advance|for|your|all|help|and|kind|kindest|best|warm|warmest|"
        "regards|wishes|a|lot|everyone|team|with|support|time|the"
    )
)
_SMALL_NAME_WORDS = frozenset(("de", "da", "dos", "van", "von", "der", "den", "di", "al", "bin", "and", "&", "-"))
_GREETING = re.compile(
    r"(?:hi|hello|dear|hey|good morning|good afternoon|morning|afternoon|dzień dobry|witam|cześć|laba diena|sveiki|"
    r"olá|bom dia|bună|bună ziua|guten|hallo|bonjour|hola|ciao|dag|beste|dobrý den|السلام)\b",
    re.I,
)

_ROLE = re.compile(
    r"\b(?:teacher|teaching|head|headteacher|headmaster|deputy|principal|assistant|lead|leader|manager|officer|"
    r"administrator|admin|co-?ordinator|coordinator|senco|sendco|dsl|ddsl|bursar|secretary|receptionist|caretaker|"
    r"technician|governor|director|consultant|engineer|cook|librarian|ect|hlta|ta|lsa|supervisor|mentor|tutor|"
    r"executive|specialist|representative|analyst|trustee|chair|clerk|nurse|therapist|psychologist|advisor|adviser|"
    r"office|reception|class|year \d|eyfs|ks[12]|nursery|department|dept|team|support|sales|service desk|helpdesk|"
    r"business|marketing|communications|finance|safeguarding|"
    r"nauczyciel(?:ka)?|dyrektor(?:ka)?|kierownik|sekretariat|mokytoja|mokytojas|direktor(?:ius|ė)|professora?|"
    r"diretora?|"
    r"secretária|profesor|profesoară|învățătoare|director(?:oare)?|secretar(?:ă)?|lehrer(?:in)?|leiter(?:in)?|"
    r"schulleitung|"
    r"sekretärin|enseignante?|professeure?|directrice|directeur|secrétaire|maestr[ao]|profesora|directora?|"
    r"insegnante|docente|preside|leerkracht|leraar|directie|učitel(?:ka)?|ředitel(?:ka)?)\b",
    re.I,
)
_ORGANISATION = re.compile(
    r"\b(?:school|primary|academy|academies|trust|college|federation|council|university|nursery|infant|junior|ltd|"
    r"limited|"
    r"plc|llp|llc|inc|gmbh|church of england|cofe|c of e|diocese|company|services|solutions|group|partnership|"
    r"szkoła|przedszkole|mokykla|gimnazija|darželis|escola|colégio|școala|scoala|grădinița|schule|grundschule|kita|"
    r"école|collège|escuela|colegio|scuola|istituto|school|basisschool|škola|základní)\b",
    re.I,
)
_CONTACT_LABEL = re.compile(
    r"(?:t|m|e|w|f|p|d|a|tel|tel no|telephone|phone|ph|mob|mobile|cell|direct|direct line|dd|ddi|office|main|"
    r"switchboard|"
    r"ext|extension|fax|email|e-mail|mail|web|website|site|address|twitter|facebook|instagram|x|linkedin|skype|teams|"
    r"telefon|telefonas|tel\. nr|telefone|telemóvel|téléphone|teléfono|telefono|telefoon|mobil|kom|adres|adresas|"
    r"follow us on|find us on|find us|visit us|visit our website|فون)\s?(?:no|number)?\.?\s?[:.|\-–]?\s",
    re.I,
)
_CONTACT_TAIL = re.compile(
    r"[+(]?\d[\d\s().\-/+]{2,24}|[^\s@]{1,64}@[^\s@]{1,200}|(?:https?://|www\.)\S|@\w|[a-z0-9-]{2,40}\.(?:sch\.uk|"
    r"co\.uk|org|com|uk)",
    re.I,
)
_PHONE = re.compile(r"[+(]{0,2}\d[\d\s().\-/]{6,20}\d(?:\s{0,2}(?:ext|x)\.?\s?\d{1,5})?")
_SITE = re.compile(r"[a-z0-9-]{2,60}(?:\.[a-z0-9-]{2,60}){1,4}(?:/\S{0,80})?", re.I)
_POSTSCRIPT = re.compile(r"\s{0,3}p\.?\s?s\b", re.I)
_POSTCODE = re.compile(r"\b[A-Z]{1,2}\d[A-Z\d]?\s?\d[A-Z]{2}\b|\b\d{2}-\d{3}\b|\bLT-\d{5}\b")
_STREET = re.compile(
    r"\b(?:road|rd|street|st|lane|avenue|ave|close|drive|way|crescent|square|ul\.|gatvė|g\.|rua|strada|str\.|straße|"
    r"rue|calle|via)\b",
    re.I,
)
_IMAGE = re.compile(
    r"\[(?:cid:|image|logo|https?:|a |an )[^\]]{0,300}\]|\[[^\]]{0,80}(?:logo|icon|banner|badge|award|"
    r"signature)[^\]]{0,80}\]",
    re.I,
)
_RULE = re.compile(r"[-_=*~—–·•\s]{3,200}")
_DIVIDER = re.compile(r"\s{1,3}[|•·▪◆●–—]\s{1,3}|\t")


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """One body taken apart.  *new* is for showing and classifying; the other parts are kept for whoever unfolds them.

    *forwarded* is the message passed on, from its marker or header block on; *quoted* is earlier history; *signature*
    is everything that rules 1 and 4 of the module took away.
    """

    new: str
    quoted: str = ""
    forwarded: str = ""
    signature: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Introduction:
    """The lines [start, end) that lead into history; *is_forward* when they pass a message on."""

    start: int
    end: int
    is_forward: bool = False


def split(text: str, own: str | None = None, subject: str = "") -> Split:
    """Return *text* taken apart into what was written this time and what was not.

    *own* is the same body with the quote containers of its HTML cut away, where there was HTML.  It knows better where
    history begins, but not what was answered inside a container, so answers found between ">" lines of *text* win.
    *subject* tells a forward of Outlook ("FW:") from a reply, whose bodies look the same.
    """
    whole = _scan(text, subject)
    if own is not None and own.strip() and not whole.is_interleaved:
        # Without its containers the subject says nothing about ">": it was typed.
        kept = _scan(own, "")
        # Where both say the same, the words stand as the sender's own program laid them out.
        if kept.new and _letters(kept.new) != _letters(whole.new):
            return Split(
                new=kept.new,
                quoted=whole.quoted or kept.quoted,
                forwarded=whole.forwarded or kept.forwarded,
                signature=kept.signature,
            )
    return Split(
        new=whole.new or whole.passed_on or text.strip(),
        quoted=whole.quoted,
        forwarded=whole.forwarded,
        signature=whole.signature,
    )


class _Owner(Enum):
    """Whose words a run of lines are."""

    NEW = "new"
    QUOTED = "quoted"
    FORWARDED = "forwarded"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scan:
    """What one pass found; *new* may be empty.

    *passed_on* is then the body of the first message below.  *is_interleaved*: something was written under a quote.
    """

    new: str
    quoted: str
    forwarded: str
    signature: str
    passed_on: str
    is_interleaved: bool


def _scan(text: str, subject: str) -> _Scan:
    """Return the parts of *text*."""
    lines = text.split("\n")
    begin, removed = _skip_banner(lines)
    runs = _runs(lines, begin, subject)
    owned: dict[_Owner, list[str]] = {owner: [] for owner in _Owner}
    is_interleaved = False
    for owner, run in runs:
        if owner is not _Owner.NEW:
            owned[owner].extend(run)
            continue
        kept, taken = _trim(run)
        removed.extend(taken)
        piece = _joined(kept)
        if piece:
            owned[owner].append(piece)
            is_interleaved = is_interleaved or bool(owned[_Owner.QUOTED])
    history = [line for owner, run in runs if owner is not _Owner.NEW for line in run]
    return _Scan(
        new="\n\n".join(owned[_Owner.NEW]),
        quoted=_joined(owned[_Owner.QUOTED]),
        forwarded=_joined(owned[_Owner.FORWARDED]),
        signature=_joined(removed),
        passed_on="" if owned[_Owner.NEW] else _first_message(history),
        is_interleaved=is_interleaved,
    )


def _runs(lines: Sequence[str], begin: int, subject: str) -> list[tuple[_Owner, list[str]]]:
    """Return the lines from *begin* in runs of one owner each, in their order."""
    runs: list[tuple[_Owner, list[str]]] = []

    def add(owner: _Owner, some: Sequence[str]) -> None:
        if not runs or runs[-1][0] is not owner:
            runs.append((owner, []))
        runs[-1][1].extend(some)

    is_forward = _FORWARD_SUBJECT.match(subject) is not None
    introductions = _introductions(lines, begin)
    arrows_are_quotes = not introductions and _has_bare_quotes(lines, begin, subject)
    is_tabbed = False
    index = begin
    history = _Owner.QUOTED
    upcoming = iter([*introductions, _Introduction(start=len(lines), end=len(lines))])
    introduction = next(upcoming)
    while index < len(lines):
        if index == introduction.start:
            history = _Owner.FORWARDED if introduction.is_forward or is_forward else _Owner.QUOTED
            add(history, lines[index : introduction.end])
            index = introduction.end
            below = lines[follows] if (follows := _next_filled(lines, index)) < len(lines) else ""
            # A tab is how s-nail quotes unless it is told otherwise.
            is_tabbed = below.startswith("\t") and lines[index - 1].rstrip().endswith("wrote:")
            arrows_are_quotes = is_tabbed or _is_quote(below) or _is_quote(lines[introduction.start])
            if not arrows_are_quotes:
                end = _end_of_forward(lines, index) if introduction.is_forward else len(lines)
                add(history, lines[index:end])
                index = end
            while introduction.start < index:
                introduction = next(upcoming)
            continue
        line = lines[index]
        is_quoted = _is_quote(line) or (is_tabbed and line.startswith("\t")) or _is_torn_quote(lines, index)
        belongs_above = not line.strip() and runs and runs[-1][0] is not _Owner.NEW
        add(history if belongs_above or (arrows_are_quotes and is_quoted) else _Owner.NEW, (line,))
        index += 1
    return runs


def _first_message(lines: Sequence[str]) -> str:
    """Return the body of the first message in the history *lines*, without its header, history and signature."""
    bare = [_unquoted(line) for line in lines]
    begin = 0
    for introduction in [*_introductions(bare, 0), _Introduction(start=len(bare), end=len(bare))]:
        body = [line for line in bare[begin : introduction.start] if not _is_quote(line)]
        if message := _joined(_trim(body)[0]) or _joined(body):
            return message
        begin = introduction.end
    return _joined(bare)


def _letters(text: str) -> str:
    """Return what is left of *text* without links, marks and white space, to compare two renderings of one body."""
    return "".join(filter(str.isalnum, _URL.sub("", text)))


def _joined(lines: Sequence[str]) -> str:
    return "\n".join(lines).strip("\n \t\r\u00a0")


def _next_filled(lines: Sequence[str], index: int) -> int:
    """Return the index of the first line from *index* that is not blank; looks at most eight lines ahead."""
    for ahead in range(index, min(index + 8, len(lines))):
        if lines[ahead].strip():
            return ahead
    return len(lines)


# --- 1. Warnings above the text -------------------------------------------------------------------------------------


def _skip_banner(lines: list[str]) -> tuple[int, list[str]]:
    """Return the index of the first line under the warnings of a gateway, and the lines of these warnings.

    A warning in brackets before the text on the same line is cut out of *lines*.
    """
    index = 0
    removed: list[str] = []
    while index < len(lines):
        start = _skip_rules(lines, index)
        if start >= len(lines):
            return index, removed
        bracket = _BRACKET_BANNER.match(lines[start][:_LINE_LIMIT])
        if bracket is not None:
            rest = lines[start][bracket.end() :].strip()
            removed.append(bracket.group().strip())
            if rest and not _opens_banner(rest):
                lines[start] = rest
                return start, removed
            index = start + 1
            if rest:
                removed.append(rest)
            continue
        end = _banner_end(lines, start)
        if end == start:
            break
        removed.extend(lines[index:end])
        index = end
    if removed:
        index = _skip_rules(lines, index)
    return index, removed


def _skip_rules(lines: Sequence[str], index: int) -> int:
    """Return the index of the first line that is neither blank nor, above a warning, a rule."""
    start = index
    while start < len(lines) and (not lines[start].strip() or _RULE.fullmatch(lines[start][:210])):
        start += 1
    return start


def _opens_banner(line: str) -> bool:
    low = line.strip(" *|!⚠\ufe0f\t").casefold()[:_LINE_LIMIT]
    return low.startswith(_BANNERS)


def _banner_end(lines: Sequence[str], start: int) -> int:
    """Return the index after the warning that begins at *start*, or *start* when none does."""
    if not _opens_banner(lines[start]):
        return start
    end = start
    if lines[start].startswith(_PROOFPOINT_START):
        for index in range(start, min(start + 16, len(lines))):
            if _PROOFPOINT_END in lines[index][:_LINE_LIMIT]:
                return index + 1
    while end < len(lines) and end < start + 8 and lines[end].strip():
        # Without a blank line below, the warning ends with the sentence after which nothing speaks of it.
        if (
            end > start
            and lines[end - 1].rstrip().endswith((".", ">", ")", "*", "]", "!"))
            and not _BANNER_WORDS.search(lines[end][:_LINE_LIMIT])
        ):
            break
        end += 1
    return end if _BANNER_PROOF.search(" ".join(lines[start:end])[: 4 * _LINE_LIMIT]) else start


# --- 2. Introductions of history ------------------------------------------------------------------------------------


def _introductions(lines: Sequence[str], begin: int) -> list[_Introduction]:
    """Return the introductions in *lines* from *begin*, in their order and without overlap."""
    found: list[_Introduction] = []
    ends_in_colon = [_ends_in_colon(line) for line in lines]
    index = begin
    while index < len(lines):
        line = lines[index]
        introduction = None
        if _is_quote(line):
            # Mail on an iPhone quotes the attribution too.
            if index == begin or not _is_quote(lines[index - 1]):
                introduction = _quoted_introduction(lines, index)
        elif line.strip():
            introduction = _marked(lines, index) or _header_block(lines, index)
            # Most lines are nowhere near a colon at the end of a line, and need no closer look.
            if introduction is None and any(ends_in_colon[index : index + _ATTRIBUTION_LINES]):
                introduction = _attribution(lines, index)
        if introduction is None:
            index += 1
            continue
        found.append(introduction)
        index = introduction.end
    return found


def _quoted_introduction(lines: Sequence[str], index: int) -> _Introduction | None:
    """Return the introduction that the quoted lines from *index* begin with."""
    bare: list[str] = []
    for line in lines[index : index + _HEADER_BLOCK_LINES]:
        if not _is_quote(line):
            break
        bare.append(_unquoted(line))
    inner = _marked(bare, 0) or _header_block(bare, 0) or _attribution(bare, 0)
    return inner and _Introduction(start=index, end=index + inner.end, is_forward=inner.is_forward)


def _marker(line: str) -> str:
    """Return "original", "forward" or "end" for a marker line, else an empty text."""
    if len(line) > 200:
        return ""
    bare = line.strip(" \t-_=*—–:>\u00a0").casefold()
    dashed = line.strip(" *\t").startswith(("--", "__", "==", "—"))
    if not bare:
        return ""
    if bare in _FORWARDED and (dashed or line.rstrip(" *\t\u00a0").endswith(":")):
        return "forward"
    if not dashed:
        return ""
    if bare in _ORIGINAL:
        return "original"
    if bare.startswith(_FORWARD_FROM):
        return "forward"
    if bare.startswith(_FORWARD_END):
        return "end"
    return ""


def _marked(lines: Sequence[str], index: int) -> _Introduction | None:
    """Return the introduction that a marker at *index* begins, with the header block under it."""
    kind = _marker(lines[index])
    if kind not in ("original", "forward"):
        return None
    follows = _next_filled(lines, index + 1)
    block = _header_block(lines, follows, fields_needed=1) if follows < len(lines) else None
    return _Introduction(start=index, end=block.end if block else index + 1, is_forward=kind == "forward")


def _field(line: str) -> str:
    """Return the kind of header field that *line* is (a key of ``_FIELDS``), or an empty text."""
    head, colon, _ = line[:60].lstrip(" *\t\u00a0").replace("：", ":").partition(":")
    if not colon:
        return ""
    return _KIND_OF_FIELD.get(head.strip(" *\u00a0").casefold(), "")


def _header_block(lines: Sequence[str], index: int, fields_needed: int = 0) -> _Introduction | None:
    """Return the block of header fields at *index* ("From: ... Sent: ... To: ... Subject: ..."), bold or not.

    One line "From: the staff room" is no block: the sender, and the date or two more fields, must be there.
    """
    start = index
    if _RULE.fullmatch(lines[index][:210]) and lines[index].strip():
        index = _next_filled(lines, index + 1)
        if index >= len(lines):
            return None
    if _field(lines[index]) not in ("from", "date", "to", "subject"):
        return None
    kinds: set[str] = set()
    end = index
    wrapped = 0
    for at in range(index, min(index + _HEADER_BLOCK_LINES, len(lines))):
        line = lines[at]
        kind = _field(line)
        if kind:
            if kind in kinds and kind != "other":
                break
            kinds.add(kind)
            end, wrapped = at + 1, 0
        elif not line.strip():
            following = _next_filled(lines, at)
            follows = _field(lines[following]) if following < len(lines) else ""
            # A field that somebody typed further up is not part of the block, which begins with From in Outlook.
            if not follows or follows == "from" or {"subject", "from"} <= kinds:
                break
        elif wrapped < 4 and "subject" not in kinds and (line[:1] in " \t" or ";" in line or "@" in line[:_LINE_LIMIT]):
            wrapped += 1
        else:
            break
    if fields_needed:
        return _Introduction(start=start, end=end) if len(kinds) >= fields_needed else None
    if "from" not in kinds:
        return None
    if len(kinds - {"other"}) >= 3 or ("date" in kinds and any(c.isdigit() for c in "".join(lines[index:end])[:2000])):
        return _Introduction(start=start, end=end)
    return None


def _attribution(lines: Sequence[str], index: int) -> _Introduction | None:
    """Return the attribution ("On 3 Nov 2026 at 09:12, Jane <j@x> wrote:") that starts at *index*, however wrapped."""
    joined = ""
    for at in range(index, min(index + _ATTRIBUTION_LINES, len(lines))):
        line = lines[at].strip()
        if not line or len(line) > _LINE_LIMIT or _is_quote(line):
            return None
        joined = f"{joined} {line}" if joined else line
        if _ends_in_colon(line):
            found = _judged_attribution(lines, index, at, joined)
            # "On the third try it printed." above the attribution is a sentence of the sender's.
            is_wrapped = any(char.isdigit() for char in lines[index]) or len(lines[index].strip()) <= _SHORT_OPENING
            if found and at > index and (not is_wrapped or lines[index].rstrip().endswith((".", "!", "?"))):
                later = (
                    _judged_attribution(lines, start, at, _span(lines, start, at)) for start in range(index + 1, at + 1)
                )
                return None if any(later) else found
            return found
        # A sentence that ends here is not part of an attribution; a full stop may be an abbreviation ("nov.").
        if line.endswith(("!", "?")):
            return None
    return None


def _span(lines: Sequence[str], start: int, last: int) -> str:
    return " ".join(line.strip() for line in lines[start : last + 1])


def _ends_in_colon(line: str) -> bool:
    """Return whether *line* ends as an attribution does; Zoho dashes its own."""
    return line.rstrip(" \t*_\u00a0").endswith((":", "：", "wrote ----"))


def _judged_attribution(lines: Sequence[str], start: int, last: int, joined: str) -> _Introduction | None:
    """Return the attribution of the lines [start, last] that read *joined*, when verb, date or address say so."""
    bare = joined.rstrip(" *_-:：\u00a0").casefold()
    # Yahoo and Lithuanian programs put the date last: "Jane <j@x> escreveu (terça, 3/11/2026 à(s) 09:12):".
    if bare.endswith(")") and not bare.endswith(_VERB_LAST):
        bare = bare.partition(" (")[0]
    has_verb = bare.endswith(_VERB_LAST) or any(verb in f" {bare}" for verb in _VERB_INSIDE)
    # Russian Gmail and Czech Apple Mail have no verb: "3. 11. 2026 v 9:12, Jan <j@x>:".
    if not has_verb and not bare.endswith(">"):
        return None
    introduction = _Introduction(start=start, end=last + 1)
    opens = _opens_attribution(lines[start])
    has_address = _ADDRESS.search(joined) is not None
    has_year = _YEAR.search(joined) is not None
    if not has_verb:
        return introduction if opens and has_year and has_address else None
    if opens and (has_year or has_address):
        return introduction
    # Without an opening word the attribution must begin where a paragraph does, or it would take a sentence along.
    is_paragraph = start == 0 or not lines[start - 1].strip()
    if has_address and (is_paragraph or last == start):
        return introduction
    follows = _next_filled(lines, last + 1)
    is_quoted_below = follows < len(lines) and _is_quote(lines[follows])
    return introduction if is_quoted_below and last == start else None


def _opens_attribution(line: str) -> bool:
    bare = line.lstrip(" \t*_-\u00a0")[:_LINE_LIMIT]
    if _DATE_FIRST.match(bare):
        return True
    return _OPENERS.match(bare) is not None and (bare[:1].isupper() or any(char.isdigit() for char in bare))


def _end_of_forward(lines: Sequence[str], begin: int) -> int:
    """Return the index after the end marker of a forward (mutt writes one), or the end of *lines*."""
    for index in range(begin, len(lines)):
        if _marker(lines[index]) == "end":
            return index + 1
    return len(lines)


# --- 3. Lines quoted with ">" ---------------------------------------------------------------------------------------


def _is_quote(line: str) -> bool:
    """Return whether *line* is quoted with ">" (or with " |" as s-nail does) and is no typed ">>> emphasis <<<"."""
    if line.startswith(" |"):
        return True
    bare = line.lstrip(" \t\u00a0")
    return bare.startswith(">") and not bare.endswith("<") and not bare.startswith(">:")


def _unquoted(line: str) -> str:
    """Return *line* without one level of quoting."""
    if not _is_quote(line):
        return line
    bare = line.lstrip(" \t\u00a0")[1:]
    return bare[1:] if bare.startswith(" ") else bare


def _is_torn_quote(lines: Sequence[str], index: int) -> bool:
    """Return whether the line is the end of a long quoted line that a mail program wrapped without a ">"."""
    if index == 0 or index + 1 >= len(lines) or not lines[index].strip():
        return False
    above, line, below = lines[index - 1], lines[index], lines[index + 1]
    return (
        _is_quote(above)
        and _is_quote(below)
        and len(above) >= 60
        and len(line) <= 60
        and above.rstrip()[-1:] not in (".", "?", "!", ":")
        and line[:1].islower()
    )


def _has_bare_quotes(lines: Sequence[str], begin: int, subject: str) -> bool:
    """Return whether ">" means quoting in a text without introductions, because the sender cut them away.

    It does where the text begins with it, ends with three lines of it, or answers a mail; under a colon it is a list.
    """
    starts = [
        index
        for index in range(begin, len(lines))
        if _is_quote(lines[index]) and not _is_quote(lines[max(index - 1, 0)])
    ]
    if begin < len(lines) and _is_quote(lines[begin]):
        starts = [begin, *starts]
    if not starts or any(_text_above(lines, start).endswith(":") for start in starts):
        return False
    # "> Settings > Display" is a path that somebody clicked along.
    if " > " in lines[starts[0]][:_LINE_LIMIT]:
        return False
    above = _text_above(lines, starts[0])
    if _REPLY_SUBJECT.match(subject) or not above or (len(above) < 60 and _GREETING.match(above)):
        return True
    end = len(lines)
    while end > begin and not lines[end - 1].strip():
        end -= 1
    return end - starts[-1] >= 3 and all(_is_quote(line) for line in lines[starts[-1] : end])


def _text_above(lines: Sequence[str], index: int) -> str:
    """Return the nearest text above the line at *index*, at most eight lines up, or an empty text."""
    return next((line.strip() for line in reversed(lines[max(index - 8, 0) : index]) if line.strip()), "")


# --- 4. Tags, footers, signatures and cards at the end of a piece ---------------------------------------------------


def _trim(piece: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return *piece* without what programs added to its end, and what was taken."""
    kept, tags = _without_tags(piece)
    removed: list[str] = []
    for cut in (_footer_start, _delimiter_start):
        at = cut(kept)
        removed = kept[at:] + removed
        kept = kept[:at]
    kept, card = _without_card(kept)
    end = len(kept)
    while end and (not kept[end - 1].strip() or _is_decoration(kept[end - 1])):
        end -= 1
    # A picture may be all that somebody sent.
    end = end or (len(kept) if any(_IMAGE.search(line[:_LINE_LIMIT]) for line in kept) else 0)
    return kept[:end], [*kept[end:], *card, *removed, *tags]


def _is_decoration(line: str) -> bool:
    """Return whether *line* is a rule or stands for a picture."""
    bare = line[:_LINE_LIMIT].strip()
    return _RULE.fullmatch(bare) is not None or (bare[:1] == "[" and not _IMAGE.sub("", _URL.sub("", bare)).strip())


def _without_tags(piece: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return *piece* without the lines that a telephone or a mail program signs with, and these lines."""
    kept: list[str] = []
    tags: list[str] = []
    for line in piece:
        (tags if _is_tag(line) else kept).append(line)
    return kept, tags


def _is_tag(line: str) -> bool:
    if len(line) > _LINE_LIMIT:
        return False
    bare = line.strip(" \t*_[]()<>\u00a0.")
    low = bare.casefold()
    # Outlook links its tag in every language to its own shop pages.
    if "aka.ms/" in low and "outlook" in low and len(low) < 120:
        return True
    if low[:3] not in _TAG_HEADS or not low.startswith(_MOBILE_TAGS):
        return False
    words = _URL.sub(" ", bare).split()
    return (
        len(words) <= 12
        and _TAG_DEVICE.search(" ".join(words[1:] if len(words) > 1 else words)) is not None
        and (
            len(words) <= 7
            or "k-9" in low
            or "brevity" in low
            or "typos" in low
            or "excuse" in low
            or "<" in line
            or "http" in low
        )
    )


def _footer_start(piece: Sequence[str]) -> int:
    """Return the index where the house's footer begins, or the length of *piece*."""
    for index, line in enumerate(piece):
        bare = line[:_LINE_LIMIT].lstrip(" \t*_[\u00a0>").casefold()
        if bare[:3] in _FOOTER_HEADS and bare.startswith(_FOOTER_STARTS):
            context = " ".join(piece[index : index + 4])[: 4 * _LINE_LIMIT]
            # A person may write about the footer; then a name stands under it.
            return index if _FOOTER_WORDS.search(context) and not _is_signed(piece[index:]) else len(piece)
    return len(piece)


def _is_signed(lines: Sequence[str]) -> bool:
    """Return whether *lines* end with a bare name, as a message does."""
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return _is_name(last) and len(last.split()) <= 2 and not _facts(last)


def _delimiter_start(piece: Sequence[str]) -> int:
    """Return the index of the signature delimiter "-- " (RFC 3676 4.3), or the length of *piece*.

    Programs strip the space, so a bare "--" counts too, unless it divides a list or prose stands under it.
    """
    below: list[str] = []
    found = len(piece)
    for index in range(len(piece) - 1, -1, -1):
        line = piece[index].rstrip(" \t\u00a0")
        if not line:
            continue
        if line in ("--", "—"):
            if piece[index] == "-- ":
                return index
            if found < len(piece):
                return len(piece)
            if below and not any(_is_prose(under) for under in below):
                found = index
        below.append(line)
        if len(below) > _SIGNATURE_LINES:
            break
    return found


def _is_prose(line: str) -> bool:
    return len(line.split()) >= 7 and line.rstrip().endswith((".", "?", "!"))


def _without_card(piece: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return *piece* without the card (name, role, organisation, numbers, address) near its end, and the card.

    A postscript under the card is the sender's; a few lines of slogans or working days there are the card's.
    """
    filled = [index for index, line in enumerate(piece) if line.strip()][-_CARD_WINDOW:]
    facts = [_facts(piece[index]) for index in filled]
    if len(set().union(*facts)) < 2:
        return list(piece), []
    for at in range(len(filled)):
        last = _card_end(piece, filled, facts, at)
        if not last or len(filled) - last > _LINES_UNDER_A_CARD:
            continue
        end = filled[last - 1] + 1
        postscript = next((index for index in filled[last:] if _POSTSCRIPT.match(piece[index])), len(piece))
        start = filled[_after_typed_name(piece, filled, at)]
        under = [] if postscript == len(piece) else ["", *piece[postscript:]]
        return [*piece[:start], *under], list(piece[start : max(end, postscript)])
    return list(piece), []


def _card_end(piece: Sequence[str], filled: Sequence[int], facts: Sequence[set[str]], at: int) -> int:
    """Return the position in *filled* after the card whose first line is *filled[at]*, or 0 when none begins there.

    A card begins with a sign-off, or where a paragraph does.  Its names come first and it states two kinds of facts:
    a list of people with their roles has names all the way down.
    """
    first = filled[at]
    leads_in = _is_sign_off(piece[first])
    if not leads_in:
        announced = at > 0 and piece[filled[at - 1]].rstrip().endswith(":")
        if announced or not _begins_paragraph(piece, first) or not (facts[at] or _is_name(piece[first])):
            return 0
        # A name alone in a paragraph above the name of the card ("Ruth") was typed.
        below = filled[at + 1] if at + 1 < len(filled) else first
        if not facts[at] and _begins_paragraph(piece, below) and _is_name(piece[below]) and not facts[at + 1]:
            return 0
    kinds: set[str] = set()
    contacts = names = names_below = 0
    last = 0
    for position in range(at + leads_in, min(at + _SIGNATURE_LINES, len(filled))):
        line = piece[filled[position]]
        if facts[position]:
            if names_below and facts[position] & {"role"}:
                return 0
            kinds |= facts[position]
            contacts += "contact" in facts[position]
            last = position + 1
        elif _is_name(line):
            names, names_below = (names, names_below + 1) if kinds else (names + 1, 0)
        elif not _is_decoration(line):
            break
    return last if names <= 3 and (len(kinds) >= 2 or contacts >= 2) else 0


def _begins_paragraph(piece: Sequence[str], index: int) -> bool:
    return index > 0 and (not piece[index - 1].strip() or _is_decoration(piece[index - 1]))


def _after_typed_name(piece: Sequence[str], filled: Sequence[int], at: int) -> int:
    """Return the position where the card itself begins, when a typed closing ("Thanks / Jo") stands at *at*."""
    if not _is_sign_off(piece[filled[at]]) or at + 2 >= len(filled):
        return at
    name, below = filled[at + 1], filled[at + 2]
    is_typed = name == filled[at] + 1 and below > name + 1 and _is_name(piece[name]) and not _facts(piece[name])
    words = piece[name].split()
    is_first_name = len(words) == 1 or (len(words) == 2 and len(words[1].strip(".")) == 1)
    return at + 2 if is_typed and (is_first_name or _is_name(piece[below])) else at


def _is_sign_off(line: str) -> bool:
    """Return whether *line* is nothing but a closing formula: "Kind regards", "Many thanks for your help"."""
    bare = line.strip(" ,.!;:*_-–\t\u00a0😊🙂☺\ufe0f").casefold()
    if bare in _SIGN_OFFS:
        return True
    words = bare.replace("&", "and").split()
    return len(words) <= 7 and bare.startswith(_THANKS) and all(word.strip(",.!") in _CLOSING_WORDS for word in words)


def _is_name(line: str) -> bool:
    """Return whether *line* may be a person's name: one to six words in capitals, no digits, no sentence."""
    bare = line.strip(" ,*_\t\u00a0")
    if not 1 <= len(bare) <= 60 or bare[-1] in ".?!:;" or any(char.isdigit() or char in "@<>[]|" for char in bare):
        return False
    words = bare.split()
    return len(words) <= 6 and all(
        word[0].isupper() or not word[0].isascii() or word[0] == "(" or word.casefold() in _SMALL_NAME_WORDS
        for word in words
    )


def _facts(line: str) -> set[str]:
    """Return the kinds of facts that *line* of a card states: contact, role, organisation; none for prose."""
    if len(line) > _CARD_LINE_LIMIT:
        return set()
    parts = [part.strip(" *_|,<>[]()\u00a0") for part in _DIVIDER.split(line.strip())]
    return {kind for part in parts if part for kind in _kinds_of_fact(part)}


def _kinds_of_fact(bare: str) -> Iterator[str]:
    words = bare.split()
    if len(words) > 12 or (bare.endswith((".", "?", "!")) and len(words) > 4):
        return
    label = _CONTACT_LABEL.match(bare)
    if label is not None and _CONTACT_TAIL.match(bare[label.end() :].lstrip(" <[")):
        yield "contact"
        return
    if _PHONE.fullmatch(bare) or _URL.fullmatch(bare) or _SITE.fullmatch(bare) or _ADDRESS.fullmatch(words[0]):
        yield "contact"
        return
    if _POSTCODE.search(bare) or (_STREET.search(bare) and bare[0].isupper() and "," in bare):
        yield "contact"
        return
    small = sum(1 for word in words if word[0].islower() and word not in ("of", "and", "the", "for", "to", "in", "at"))
    if len(words) <= 10 and small * 2 <= len(words):
        if _ROLE.search(bare) is not None:
            yield "role"
        # A school may be called like a role ("Nursery"), and one word must not count twice.
        elif _ORGANISATION.search(bare) is not None:
            yield "organisation"
