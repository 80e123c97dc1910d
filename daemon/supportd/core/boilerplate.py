"""The words by which programs, gateways and closings are known in the body of a mail, by language.

All phrases are in lower case and stand for what a case-folded line is, begins with or contains.  The languages are
those of the families and suppliers of the school: English, Polish, Lithuanian, Portuguese, Romanian, Urdu and others.
Patterns have bounded repeats only, so that no line can make them backtrack for long.
"""

from __future__ import annotations

import re


def _words(listed: str) -> tuple[str, ...]:
    """Return the phrases of *listed*, which stand apart by a bar, case-folded ("grüßen" becomes "grüssen")."""
    return tuple(listed.casefold().split("|"))


FIELDS = {
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
KIND_OF_FIELD = {name: kind for kind, names in FIELDS.items() for name in names.split("|")}

ORIGINAL_MARKERS = frozenset(
    _words(
        "original message|original appointment|reply message|wiadomość oryginalna|oryginalna wiadomość|"
        "pradinis laiškas|"
        "pirminis laiškas|originalus laiškas|pradinis pranešimas|mensagem original|mesaj original|mesajul original|"
        "mesaj inițial|ursprüngliche nachricht|originalnachricht|ursprüngliche mail|message d'origine|message original|"
        "mensaje original|messaggio originale|oorspronkelijk bericht|origineel bericht|původní zpráva|původní e-mail|"
        "اصل پیغام|original email|original mail|oprindelig meddelelse|ursprungligt meddelande"
    )
)
FORWARD_MARKERS = frozenset(
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
FORWARD_MARKERS_WITH_SENDER = ("forwarded message from ", "forwarded by ")
END_MARKERS = ("end forwarded message", "end of forwarded message", "forwarded message ends", "end original message")
FORWARD_SUBJECT = re.compile(
    r"\s{0,3}(?:\[[^\]]{0,40}\]\s{0,3})?(?:fwd?|pd|podaj dalej|wg|tr|enc|rv|i|doorst|fs|přep|persiunčiu|persiųsta|"
    r"vs)\s{0,2}:",
    re.I,
)

REPLY_SUBJECT = re.compile(r"\s{0,3}(?:\[[^\]]{0,40}\]\s{0,3})?(?:re|aw|odp|ats|res|sv|antw|vá|rif|ynt)\s{0,2}:", re.I)

# The verb ends an attribution ("Jane wrote:") in most languages ...
VERBS_AT_THE_END = _words(
    "wrote|writes|said|napisał(a)|napisał|napisała|napisali|pisze|rašė|parašė|escreveu|a escrit|a scris|scrie|schrieb|"
    "a écrit|escribió|ha scritto|scrisse|geschreven|schreef|napsal(a)|napsal|napsala|napísal(a)|napísal|skrev|"
    "kirjoitti|"
    "írta|ezt írta|написал(а)|написал|написала|пише|пишет|написав|نے لکھا|نے تحریر کیا|لکھا|لکھتے ہیں|كتب|نوشت|写道|"
    "şunu yazdı|yazdı|shkroi"
)
# ... and in these stands before the name ("Am 3.11.2026 um 09:12 schrieb Jane:").
VERBS_INSIDE = (
    " schrieb ",
    " schreef ",
    " skrev ",
    " wrote in ",
    " wrote on ",
    " hat geschrieben",
    " het volgende geschreven",
    " napisana przez ",
)
ATTRIBUTION_OPENING = re.compile(
    r"(?:on|am|le|el|il|op|wiadomość|w dniu|dnia|em|no dia|a|în data de|în|pe|la|dne|den|de|data|em data de|at|in|"
    r"(?:mon|tue|wed|thu|fri|sat|sun|pon|wt|śr|czw|pt|sob|niedz|ndz|pr|an|tr|kt|pn|št|sk|seg|ter|qua|qui|sex|sáb|dom|"
    r"lun|mar|mie|joi|vin|sâm|dum|mo|di|mi|do|fr|sa|so|po|út|st|čt|pá|ne|mié|jue|vie|gio|ven|mer|sam|dim|jeu|"
    r"ma|wo|vr|za|zo|بروز|منگل|پیر|بدھ|جمعرات|جمعہ|ہفتہ|اتوار)"
    r"[a-ząćęłńóśźżčšžěíáéêãçñü]{0,12})[\s.,،:]",
    re.I,
)
DATE_FIRST = re.compile(
    r"(?:\d{4}[-./]\s?\d{1,2}[-./]\s?\d{1,2}|\d{4} m\.|\d{1,2}[-./ ]{1,2}(?:\d{1,2}|"
    r"[^\W\d]{3,12}\.?)[-./, ]{1,3}\d{2,4})"
)
YEAR = re.compile(r"(?<!\d)(?:(?:19|20)\d\d|\d{1,2}[/.]\d{1,2}[/.]\d\d)(?!\d)")
ADDRESS = re.compile(r"[^\s<>@]{1,64}@[^\s<>@]{1,255}")

# Proofpoint marks its box with these, for its own use.
PROOFPOINT_START = "ZjQcmQRYFpfptBannerStart"
PROOFPOINT_END = "ZjQcmQRYFpfptBannerEnd"
BANNER_STARTS = _words(
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
BANNER_WORDS = re.compile(
    r"do not click|don.t click|unless you|recogni[sz]e the sender|know the content|content is safe|learn why|"
    r"verify the sender|phish|report this|block sender|allow sender|not previously corresponded|from outside|untrusted",
    re.I,
)
# "CAUTION: links are broken" may be a person's; one of these is a gateway's.
BANNER_PROOF = re.compile(
    r"outside (?:of )?(?:the|your|our|this|all|my)|extern|originated|don.t often get|unknown sender|"
    r"do not click|not previously|zewn|często|iš išor|häufig|souvent|suele|spesso|vaak|esterno|ZjQcmQ",
    re.I,
)
BRACKET_BANNER = re.compile(
    r"\s{0,3}(?:\*{0,2})(?:\[\s?(?:external|ext|external email|external sender|caution[^\]]{0,40}|extern|zewnętrzny|"
    r"externe|esterno|externo)[^\]]{0,40}\])(?:\*{0,2})\s{0,3}",
    re.I,
)

TAG_STARTS = _words(
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
TAG_HEADS = frozenset(tag[:3] for tag in TAG_STARTS)
TAG_DEVICE = re.compile(
    r"iphone|ipad|android|outlook|mail|galaxy|samsung|huawei|phone|mobile|telefon|smartfon|device|tablet|blackberry|"
    r"windows|nokia|xiaomi|redmi|pixel|proton|yahoo|hmail|k-9|telemóvel|móvil|cellulare|portable|aqua|orange|"
    r"handy|smartphone|mobil|آئی فون|watch|oneplus|honor|oppo|motorola|\bapp\b",
    re.I,
)
URL = re.compile(r"[<(\[]{0,2}(?:https?://|www\.)[^\s<>()\[\]]{1,2000}[>)\]]{0,2}", re.I)

FOOTER_STARTS = _words(
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
    "any opinions expressed|confidentiality notice|confidentiality:|confidential: this|confidentiality statement|"
    "confidentiality and|privileged and confidential|private and confidential: this|disclaimer|disclaimer:|"
    "email disclaimer|"
    "legal notice|important notice: this|if you are not the intended|"
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
FOOTER_HEADS = frozenset(start[:3] for start in FOOTER_STARTS)
# Some of these also open sentences ("this message contains an error"), so one of these words must follow.
FOOTER_WORDS = re.compile(
    r"confiden|intended|recipient|privileg|virus|malware|avast|avg\b|mimecast|sophos|barracuda|scanned|disclos|"
    r"unauthori[sz]ed|"
    r"environment|print|liab|legal|opinions|views|delete|notify|registered|subscri|protect|gdpr|mailing list|"
    r"poufn|adresat|konfidencial|adresuot|gavėj|confidencial|destinat|confidențial|confidential|destinatar|vertraulich|"
    r"empfänger|umwelt|confidentiel|environnement|imprim|riservat|ambient|stampa|vertrouwelijk|geadresseerde|milieu|"
    r"důvěrn|adresát|medio|mediu|خفیہ|راز|paper|tree|england|charit|wales|company|compan|group|e-?mail system|"
    r"adressat|absender|accept|mimecast|symantec|security|"
    r"trend micro|messagelabs|attachment|załącznik|priedai|anexo|anhang|pièces|allegat|bijlage|příloh",
    re.I,
)

SIGN_OFFS = frozenset(
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
CLOSING_STARTS = (
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
CLOSING_WORDS = frozenset(
    _words(
        "thanks|thank|you|many|so|very|much|again|in|advance|for|your|all|help|and|kind|kindest|best|warm|warmest|"
        "regards|wishes|a|lot|everyone|team|with|support|time|the"
    )
)
SMALL_NAME_WORDS = frozenset(("de", "da", "dos", "van", "von", "der", "den", "di", "al", "bin", "and", "&", "-"))
GREETING = re.compile(
    r"(?:hi|hello|dear|hey|good morning|good afternoon|morning|afternoon|dzień dobry|witam|cześć|laba diena|sveiki|"
    r"olá|bom dia|bună|bună ziua|guten|hallo|bonjour|hola|ciao|dag|beste|dobrý den|السلام)\b",
    re.I,
)

ROLE = re.compile(
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
ORGANISATION = re.compile(
    r"\b(?:school|primary|academy|academies|trust|college|federation|council|university|nursery|infant|junior|ltd|"
    r"limited|"
    r"plc|llp|llc|inc|gmbh|church of england|cofe|c of e|diocese|company|services|solutions|group|partnership|"
    r"szkoła|przedszkole|mokykla|gimnazija|darželis|escola|colégio|școala|scoala|grădinița|schule|grundschule|kita|"
    r"école|collège|escuela|colegio|scuola|istituto|school|basisschool|škola|základní)\b",
    re.I,
)
CONTACT_LABEL = re.compile(
    r"(?:t|m|e|w|f|p|d|a|tel|tel no|telephone|phone|ph|mob|mobile|cell|direct|direct line|dd|ddi|office|main|"
    r"switchboard|"
    r"ext|extension|fax|email|e-mail|mail|web|website|site|address|twitter|facebook|instagram|x|linkedin|skype|teams|"
    r"telefon|telefonas|tel\. nr|telefone|telemóvel|téléphone|teléfono|telefono|telefoon|mobil|kom|adres|adresas|"
    r"follow us on|find us on|find us|visit us|visit our website|فون)\s?(?:no|number)?\.?\s?[:.|\-–]?\s",
    re.I,
)
CONTACT_TAIL = re.compile(
    r"[+(]?\d[\d\s().\-/+]{2,24}|[^\s@]{1,64}@[^\s@]{1,200}|(?:https?://|www\.)\S|@\w|[a-z0-9-]{2,40}\.(?:sch\.uk|"
    r"co\.uk|org|com|uk)",
    re.I,
)
PHONE = re.compile(r"[+(]{0,2}\d[\d\s().\-/]{6,20}\d(?:\s{0,2}(?:ext|x)\.?\s?\d{1,5})?")
SITE = re.compile(r"[a-z0-9-]{2,60}(?:\.[a-z0-9-]{2,60}){1,4}(?:/\S{0,80})?", re.I)
# Sentences that stand under a card and were not typed this time.
SLOGAN = re.compile(
    r"working days|working hours|working pattern|days of work|work part.time|office hours|term.time only|"
    r"outside (?:of )?(?:my|your|these|normal)|expect a re(?:ply|sponse)|committed to safeguarding|welfare of|"
    r"follow us|"
    r"find us|visit (?:us|our)|rights respecting|part of the|proud to be|member of the|our vision|our values|ofsted|"
    r"we are a .{0,40}school|registered|respect your time|flexibl",
    re.I,
)
POSTSCRIPT = re.compile(r"\s{0,3}p\.?\s?s\b", re.I)
POSTCODE = re.compile(r"\b[A-Z]{1,2}\d[A-Z\d]?\s?\d[A-Z]{2}\b|\b\d{2}-\d{3}\b|\bLT-\d{5}\b")
STREET = re.compile(
    r"\b(?:road|rd|street|st|lane|avenue|ave|close|drive|way|crescent|square|ul\.|gatvė|g\.|rua|strada|str\.|straße|"
    r"rue|calle|via)\b",
    re.I,
)
IMAGE = re.compile(
    r"\[(?:cid:|image|logo|https?:|a |an )[^\]]{0,300}\]|\[[^\]]{0,80}(?:logo|icon|banner|badge|award|"
    r"signature)[^\]]{0,80}\]",
    re.I,
)
RULE = re.compile(r"[-_=*~—–·•\s]{3,200}")
DIVIDER = re.compile(r"\s{1,3}[|•·▪◆●–—]\s{1,3}|\t")
