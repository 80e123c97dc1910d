"""The words that screening knows machines by: prefixes, phrases, addresses, fields and software, folded for comparing.

Everything is in lower case (case-folded) and compatibility form (NFKC), as ``screen`` folds what it compares.  The
languages are those of the families and suppliers of an English school.
"""

from __future__ import annotations

# What Outlook and Exchange put before the subject of an automatic reply, by the language of the mailbox.
AUTOMATIC_REPLY_PREFIXES = frozenset(
    {
        "ārpus biroja atrašanās automātiska atbilde", "automatische antwort bei abwesenheit",
        "réponse automatique d'absence du bureau", "respuesta automática de fuera de la oficina",
        "automatisch antwoord bij afwezigheid", "afwezigheidsbericht", "resposta automática de ausência temporária",
        "resposta automática de ausência do escritório", "automatiskt frånvaromeddelande", "frånvaromeddelande",
        "autosvar ved fravær", "fraværsassistent", "autoodpowiedź na nieobecność", "nieobecność w biurze",
        "risposta automatica fuori sede", "risposta fuori sede", "mimo kancelář",
        "automatická odpověď v nepřítomnosti", "poissaoloviesti", "automaattinen vastaus poissaolosta", "házon kívül",
        "out of the office auto reply", "out of office automatic reply", "away message",
        "automatic out of office reply", "automatic out of office response", "automatic reply", "auto reply",
        "auto-reply", "autoreply", "auto response", "auto-response", "autoresponse", "autoresponder",
        "automatic response", "automated reply", "automated response", "out of office autoreply",
        "out of office reply", "out of office auto reply", "vacation reply", "vacation response", "ooo autoreply",
        "automatische antwort", "abwesenheitsnotiz", "abwesenheitsnachricht", "automatisch antwoord",
        "automatische reactie", "réponse automatique", "réponse automatique d'absence", "message d'absence",
        "absence du bureau", "respuesta automática", "respuesta automatica", "respuesta de fuera de la oficina",
        "risposta automatica", "fuori sede", "resposta automática", "resposta automatica", "resposta automàtica",
        "resposta de ausência temporária", "fora do escritório", "odpowiedź automatyczna", "automatyczna odpowiedź",
        "autoodpowiedź", "automatinis atsakymas", "automatinis atsakas", "răspuns automat", "raspuns automat",
        "automātiska atbilde", "automātiskā atbilde", "automaatne vastus", "automatvastus", "automaattinen vastaus",
        "autosvar", "automatiskt svar", "automatisk svar", "automatická odpověď", "automatická odpoveď",
        "automatikus válasz", "automatski odgovor", "samodejni odgovor", "автоматический ответ", "автоответ",
        "автоматична відповідь", "автоматичен отговор", "αυτόματη απάντηση", "otomatik yanıt", "otomatik yanit",
        "përgjigje automatike", "ateb awtomatig", "erantzun automatikoa", "תשובה אוטומטית", "מענה אוטומטי",
        "رد تلقائي", "الرد التلقائي", "خودکار جواب", "پاسخ خودکار", "स्वचालित उत्तर", "স্বয়ংক্রিয় উত্তর",
        "自動回覆", "自动回复", "自动答复", "自動返信", "自動応答", "자동 회신", "trả lời tự động",
        "การตอบกลับอัตโนมัติ", "balasan otomatis",
    }
)  # fmt: skip

# Subjects that a person may write as well; they count only beside proof or an absence in the text.
ABSENCE_SUBJECTS = (
    "i am out of", "i'm out of", "i'm away", "i am on", "i'm on", "thank you for your email",
    "thank you for your message", "thanks for your email", "auto:", "out of office", "out of the office", "ooo",
    "away from my mail", "away from the office", "i am away", "vacation", "annual leave", "on leave",
    "on annual leave", "on holiday", "on vacation", "maternity leave", "paternity leave", "abwesend", "abwesenheit",
    "urlaub", "im urlaub", "absence", "absent", "en congé", "congés", "fuera de la oficina", "ausente", "ausencia",
    "vacaciones", "poza biurem", "nieobecność", "nieobecnosc", "urlop", "nie ma mnie", "atostogos", "atostogauju",
    "nedarbingumas", "ausência", "férias", "de férias", "absenţă", "absență", "concediu", "în concediu",
    "plecat din birou", "assente", "assenza", "ferie", "in ferie", "afwezig", "vakantie", "fravær", "frånvaro",
    "poissa", "dovolená", "szabadság", "отпуск", "відпустка", "دفتر سے باہر", "چھٹی", "خارج المكتب", "izindeyim",
    "ofis dışında",
)  # fmt: skip

ABSENCE_ENDINGS = (
    "(automatic response)", "(automatic reply)", "(auto reply)", "(auto-reply)", "[auto-reply]", "[automatic reply]",
    "is out of the office", "is out of office", "(out of office)", "is on annual leave", "is away",
)  # fmt: skip
ABSENCE_PHRASES = (
    "out of the office", "out of office", "annual leave", "on leave", "maternity leave", "paternity leave",
    "sick leave", "parental leave", "on holiday", "on vacation", "away from my", "away from the office", "away until",
    "i am away", "i'm away", "currently away", "limited access to", "no access to my", "back in the office",
    "return to the office", "returning to work", "i will return", "i will be back", "i'll be back", "no longer work",
    "has left the", "not in the office", "not in school", "only work", "working days are", "i work part",
    "non-working day", "school is closed", "office is closed", "closed for half term", "closed for the",
    "will respond to your", "respond when", "reply when i", "on my return", "automatic reply", "automated reply",
    "automatic response", "automated response", "auto-reply", "this mailbox is not monitored", "no longer monitored",
    "nicht im büro", "nicht im haus", "im urlaub", "abwesend", "ausser haus", "nicht erreichbar", "zurück am",
    "je suis absent", "actuellement absent", "en congé", "en vacances", "de retour", "absente du", "absent du",
    "absent jusqu", "fuera de la oficina", "de vacaciones", "de baja", "regresaré", "poza biurem", "nieobecn",
    "urlop", "nie ma mnie", "wracam", "powrót", "automatyczna odpowiedź", "atostog", "nesu biure", "nedirbu",
    "grįšiu", "nebūsiu", "automatinis", "fora do escritório", "de férias", "ausente", "licença", "regresso",
    "resposta automática", "concediu", "nu sunt la birou", "lipsesc", "plecat", "mă întorc", "revin pe",
    "mesaj automat", "răspuns automat", "fuori ufficio", "fuori sede", "assente", "rientr", "afwezig", "op vakantie",
    "met verlof", "niet aanwezig", "dovolen", "mimo kancelář", "szabadságon", "házon kívül", "отпуск", "вне офиса",
    "відпуст", "поза офісом", "на рабочем месте", "ofiste değil", "yıllık izin", "izindeyim", "λείπω",
    "εκτόσ γραφείου", "دفتر سے باہر", "دفتر میں نہیں", "چھٹی", "خارج المكتب", "إجازة", "אינני במשרד", "בחופשה",
    "不在办公室", "外出", "休假", "ferie", "fravær", "semester", "borta från", "tillbaka", "poissa", "lomalla",
    "no longer employed", "i have now left", "will not be reading", "prombūtn", "atvaļinājum", "puhkus",
    "on a course",
)  # fmt: skip

# The manners of one who answers everybody in the same words.
ANSWER_PHRASES = (
    "thank you for your e", "thank you for your mail", "thank you for your message", "thanks for your e",
    "thanks for your message", "thank you for contacting", "thanks for contacting", "thank you for getting in touch",
    "in my absence", "during my absence", "in an emergency", "if your enquiry is urgent", "if your query is urgent",
    "if your message is urgent", "if your email is urgent", "if it is urgent", "if urgent", "for urgent",
    "urgent matters", "urgent enquiries", "limited access to", "on my return", "when i return", "as soon as i return",
    "will respond to your", "will reply to your", "will get back to you", "responding to email",
    "your email will not be", "in dringenden fällen", "vielen dank für ihre", "en cas d'urgence", "merci pour votre",
    "en caso de urgencia", "gracias por su", "w pilnych sprawach", "dziękuję za wiadomość", "em caso de urgência",
    "obrigado pel", "obrigada pel", "pentru urgențe", "vă mulțumesc pentru", "skubiais atvejais", "ačiū už",
    "in caso di urgenza", "bij spoed",
)  # fmt: skip
# A desk confirms in one of these, and adds its manners.
RECEIPT_PHRASES = (
    "your request has been received", "we have received your", "your enquiry has been received",
    "your email has been received", "your message has been received", "ticket has been created",
    "ticket has been logged", "ticket has been opened", "case has been created", "case has been opened",
    "call has been logged", "request has been logged", "has been assigned ticket", "has been assigned the",
    "your ticket number", "your case number", "your reference number is", "your ticket id", "your request id",
    "this is to acknowledge", "acknowledge receipt", "will be reviewed by our", "track your request",
)  # fmt: skip
RECEIPT_MANNERS = (
    "thank you for contacting", "thank you for your enquiry", "we aim to respond", "we will respond within",
    "we aim to reply", "a member of our team", "a member of the team", "one of our team", "will be in touch",
    "will get back to you", "within two working days", "within 24 hours", "within 48 hours", "please quote this",
    "please quote the", "no need to reply", "you do not need to reply", "add further comments",
    "to add additional comments", "please keep the subject",
)  # fmt: skip
# A person who asks about automatic replies uses their words, but asks.
REQUEST_PHRASES = (
    "how do i", "how can i", "how do we", "how to", "can you help", "could you help", "please help", "help me",
    "any ideas", "can someone", "could someone", "can you turn", "can you set", "could you set", "can you switch",
    "could you turn", "please set", "please turn", "please switch", "please can you", "turn off", "turn it off",
    "turning off", "switch off", "switch it off", "switching off", "turn on", "turn it on", "switch on", "set up",
    "not working", "isn't working", "doesn't work", "does not work", "isn’t working", "doesn’t work",
    "stopped working", "won't turn", "won't switch", "won't stop", "won’t turn", "won’t switch", "won’t stop",
    "keeps sending", "still sending", "still on", "still says", "still going", "is stuck", "my outlook", "is broken",
    "are broken", "not printing", "no sound", "no picture", "log in to", "can't log", "cannot log", "please reset",
    "please fix", "needs fixing", "not being sent", "getting my out of", "getting my auto", "get rid of",
    "jak wyłączyć", "jak ustawić", "nie działa", "kaip išjungti", "neveikia", "como desligo", "como desativ",
    "não funciona", "cum opresc", "cum dezactivez", "nu funcționează", "wie kann ich", "funktioniert nicht",
    "comment désactiver", "ne fonctionne pas", "cómo desactivo", "no funciona",
)  # fmt: skip

# What gateways put before the subject, besides tags in brackets.
GATEWAY_TAGS = ("external:", "external email:", "ext:", "***spam***", "{spam?}", "*external*")
# Fields that responders write, and others too: proof only beside the right words.
ANSWER_MARKS = (
    "x-auto-response-suppress", "x-fc-machinegenerated", "x-ms-exchange-generated-message-source",
    "x-ms-exchange-inbox-rules-loop",
)  # fmt: skip
# What a person says of a thing whose name stands before the colon.
PREDICATES = (
    "not ", "isn't", "isn’t", "is not", "won't", "won’t", "will not", "doesn't", "doesn’t", "does not", "still ",
    "keeps ", "stuck", "how ", "why ", "turn ", "switch ", "can't", "can’t", "cannot",
)  # fmt: skip
FORWARD_PREFIXES = (
    "fw:", "fwd:", "wg:", "tr:", "rv:", "enc:", "pd:", "i:", "vs:", "doorst:", "fs:", "перес:", "fwd ",
)  # fmt: skip

REPLY_PREFIXES = (
    "re:", "aw:", "sv:", "antw:", "odp:", "res:", "ats:", "rif:", "réf:", "ré:", "vá:", "vl:", "جواب:", "回复:",
)  # fmt: skip

BOUNCE_SENDERS = frozenset(
    {
        "mailer-daemon", "mailer_daemon", "mailerdaemon", "mail-daemon", "mail.daemon", "maildaemon", "mdaemon",
        "bounce-daemon",
    }
)  # fmt: skip

POSTMASTERS = ("postmaster", "post_master", "post-master")
BOUNCE_NAMES = (
    "mail deliver system", "mailer-daemon", "mail daemon", "mail delivery subsystem", "mail delivery system",
    "mail delivery service", "system administrator", "postmaster", "mail administrator", "mail system",
    "microsoft outlook", "internet mail delivery", "mail router", "mailer daemon",
)  # fmt: skip

BOUNCE_SUBJECTS = (
    "mail could not be delivered", "mail delivery warning", "mail error", "returned to sender",
    "automatically rejected mail", "email delivery failure", "e-mail delivery failure", "permanent delivery failure",
    "email could not be delivered", "message could not be delivered", "メッセージを配信できません",
    "zustellung der nachricht", "nedoručen", "kézbesíthetetlen", "teslim edilemedi", "無法傳送", "无法投递",
    "配信不能", "undeliverable", "undelivered", "delivery status notification", "mail delivery failed",
    "mail delivery failure", "mail delivery problem", "mail delivery system", "mail delivery status",
    "mail system error", "failure notice", "returned mail", "delivery failure", "delivery failed",
    "delivery has failed", "delivery report", "message status - undeliverable", "message undeliverable",
    "message delivery failure", "message not delivered", "mail not delivered", "non-delivery", "nondeliverable",
    "non delivery", "could not send message", "warning: message", "warning: could not send", "delayed mail",
    "delivery delayed", "mail delivery delayed", "message delayed", "delivery incomplete", "unzustellbar",
    "nicht zustellbar", "nicht zugestellt", "zustellung fehlgeschlagen", "non remis", "échec de la remise",
    "non distribuable", "impossible de remettre", "no se puede entregar", "no entregado", "niedostarczon",
    "niedostarczaln", "nie można dostarczyć", "nie dostarczono", "nepristatyt", "neįteikt", "non recapitabile",
    "notifica di mancato recapito", "impossibile recapitare", "niet-bezorgbaar", "onbestelbaar", "não entregue",
    "não é possível entregar", "não foi possível entregar", "nelivrat", "nelivrabil", "imposibil de livrat",
    "kan inte levereras", "kan ikke leveres", "nedoručiteľn", "nedoručiteln", "недоставлен", "не удается доставить",
)  # fmt: skip

BOUNCE_PHRASES = (
    "has been postponed due to", "could not deliver message to", "unable to deliver your mail",
    "cannot be delivered to the following", "failed recipients", "pas pu etre delivre",
    "there was an error delivering your mail", "requested action not taken", "invalid user address", "unknown user",
    "had delivery errors", "delivery errors---", "following recipients were affected", "message non-deliverable",
    "message could not be sent", "has been rejected by the recipient", "dostarczenie wiadomości do tych adresatów",
    "zustellung an diese empfänger", "échec de la remise", "no se puede entregar", "permanent fatal delivery errors",
    "this is the qmail-send program", "this message was created automatically by mail delivery software",
    "automatically generated delivery status notification", "did not reach some or all of the intended recipients",
    "did not reach the following recipient", "delivery to the following recipient", "unable to deliver your message",
    "unable to deliver message", "we were unable to deliver", "had permanent fatal errors",
    "had transient non-fatal errors", "the following address failed", "the following address(es) failed",
    "this is the mail system at host", "this is the postfix program", "delivery has failed to these recipients",
    "your message wasn't delivered", "your message couldn't be delivered", "message could not be delivered",
    "could not be delivered to", "mail could not be delivered", "was not delivered to", "was undeliverable",
    "this is a delivery failure notification", "undelivered message", "following recipient(s) could not be reached",
    "following recipients could not be reached", "while trying to deliver the mail to", "delivery attempt failed",
    "no such user", "user unknown", "mailbox unavailable", "address not found", "mailbox is full",
    "recipient not found", "konnte nicht zugestellt werden", "n'a pas pu être remis", "no se pudo entregar",
    "nie mógł zostać dostarczon", "nie została dostarczona", "nepavyko pristatyti", "não pôde ser entregue",
    "nu a putut fi livrat", "non è stato possibile recapitare",
)  # fmt: skip

# The letter is late, not lost: the mail system still tries.
DELAY_PHRASES = (
    "has not yet been delivered", "will be retried", "still being retried", "will keep trying",
    "will continue to try", "attempts will continue", "warning message only", "this is a warning only",
    "do not need to resend", "has been postponed", "has been delayed", "delayed mail", "delivery delayed",
    "delivery incomplete", "hours on the queue",
)  # fmt: skip
# Parts of a bounce that may name the letter that came back, beside the letter itself.
RETURNED_TYPES = (
    "message/rfc822", "text/rfc822-headers", "message/delivery-status", "message/disposition-notification",
)  # fmt: skip
# What stands before the letter that came back: what follows was written by us.
RETURNED_LETTER_BEGINS = (
    "original message", "returned message", "returned mail", "message headers follow", "copy of the message",
    "below this line", "message text follows", "header and top", "undelivered message",
)  # fmt: skip
ACCEPTED_SUBJECTS = (
    "accepted", "declined", "tentative", "tentatively accepted", "new time proposed", "zugesagt", "abgelehnt",
    "mit vorbehalt", "accepté", "refusé", "provisoire", "aceptada", "aceptado", "rechazada", "provisional",
    "zaakceptowano", "zaakceptowane", "odrzucono", "odrzucone", "priimta", "atmesta", "aceite", "aceito", "recusado",
    "acceptat", "refuzat", "accettato", "rifiutato", "geaccepteerd", "geweigerd", "meeting forward notification",
)  # fmt: skip

READ_SUBJECTS = (
    "read", "not read", "read receipt", "return receipt", "gelesen", "ungelesen", "lu", "non lu", "leído",
    "przeczytano", "przeczytane", "perskaityta", "lida", "lido", "citit", "letto", "gelezen", "delivered",
)  # fmt: skip

READ_PHRASES = (
    "was read on", "was deleted without being read", "was displayed on the recipient",
    "this is a receipt for the mail", "this is a return receipt for", "has been displayed on the recipient",
    "wurde am", "a été lu", "se leyó el", "przeczytano", "perskaityta", "foi lida", "a fost citit", "è stato letto",
    "is gelezen op",
)  # fmt: skip

CHALLENGE_DOMAINS = frozenset(
    {
        "spamarrest.com", "boxbe.com", "mailinblack.com", "bluebottle.com", "uol.com.br", "knowspam.net",
        "digiportal.com", "qwikmail.com",
    }
)  # fmt: skip

CHALLENGE_FIELDS = ("x-tmda-confirm", "x-challenge", "x-boxtrapper")
CHALLENGE_PHRASES = (
    "confirm your message", "verify that you are a human", "verify you are human", "your message is being held",
    "your message has been held", "your message is awaiting", "your email is waiting for",
    "click on the link below to have your message delivered", "to release your message", "on my approved sender list",
    "not on my approved", "added to my allowed sender", "approved senders list", "click the link below to be added",
    "complete this verification", "authenticate yourself as a sender",
    "reply to this message to have your message delivered", "simply reply to this message", "one-time verification",
    "just this once, click", "verification of the sender", "senders i have approved beforehand",
    "fill out the short request form",
)  # fmt: skip

# What an address says that nobody reads, punctuation aside.
NO_REPLY_WORDS = (
    "noreply", "noreplies", "dontreply", "donotrespond", "notreply", "nepasrepondre", "noresponder", "nichtantworten",
    "keineantwort", "naoresponda", "nieodpowiadaj", "neatsakyti", "nuraspunde", "nonrispondere", "unmonitored",
)  # fmt: skip
# Parts of a local part that no person has, wherever they stand in it.
MACHINE_TOKENS = frozenset(
    {
        "monitor", "acronis", "alarm", "alarms", "alert", "alerting", "alerts", "automailer", "autoresponder",
        "backup", "backups", "bizhub", "checkmk", "copier", "diskstation", "fortigate", "grafana", "icinga", "idrac",
        "librenms", "logwatch", "mailbot", "mfd", "mfp", "monitis", "monitoring", "msonlineservicesteam", "nagios",
        "notification", "notifications", "o365mc", "office365alerts", "photocopier", "postbot", "printer", "printers",
        "prtg", "qnap", "quarantine", "robot", "scanner", "server", "smokeping", "solarwinds", "sophos", "statuspage",
        "synology", "unifi", "uptimerobot", "veeam", "voicemail", "watchguard", "zabbix",
    }
)  # fmt: skip

# Names of machines that could be part of a person's name (Nas, Root): only as the whole local part, digits aside.
MACHINE_NAMES = frozenset(
    {
        "adconnect", "certwatch", "certificates", "hypervwatch", "patching", "temps", "thermal", "watchdog",
        "sensor", "sensors", "envmon", "temperature", "netmon", "sysmon", "nms", "wsus", "sccm", "vmware", "hyperv",
        "meraki", "aruba", "syslog", "eventlog", "storage", "anacron", "apache", "apc", "bms", "bot", "cctv", "cron",
        "daemon", "dmarc", "door-entry", "dvr", "esxi", "fax", "firewall", "gitlab", "hvac", "jenkins", "license",
        "licensing", "mailer", "monitor", "nas", "nginx", "nobody", "notice", "notices", "notify", "nvr", "reminder",
        "reminders", "renewals", "reporting", "reports", "root", "scan", "scans", "scantoemail", "scantomail", "smtp",
        "snmp", "status", "system", "system-alerts", "ups", "vcenter", "webform", "webforms", "wordpress", "www-data",
    }
)  # fmt: skip

# Machines named after what they are and where they stand: ups-comms-room.
MACHINE_FIRST_NAMES = frozenset(
    {
        "bms", "cctv", "cron", "envmon", "esxi", "firewall", "konica", "kyocera", "laserjet", "lexmark", "monitor",
        "nas", "nvr", "officejet", "ricoh", "scan", "sensor", "ups", "xerox",
    }
)  # fmt: skip
# Names in X-Mailer and User-Agent that only machines write.
MACHINE_SOFTWARE = frozenset(
    {
        "prtg", "nagios", "icinga", "zabbix", "synology", "qnap", "apc", "powerchute", "veeam", "acronis", "logwatch",
        "bizhub", "konica", "ricoh", "kyocera", "xerox", "workcentre", "lexmark", "toshiba", "sharp", "canon",
        "imagerunner", "epson", "brother", "smartd", "mdadm", "idrac", "sendemail", "blat", "arcserve", "whatsup",
        "solarwinds", "spiceworks", "unifi", "hikvision", "nscp", "monit", "swatchdog", "fail2ban", "ups",
    }
)  # fmt: skip

MAIL_CLIENTS = (
    "outlook", "iphone", "ipad", "apple mail", "thunderbird", "evolution", "mutt", "android", "samsung", "yahoo",
    "k-9", "roundcube", "zimbra", "kmail", "groupwise", "lotus", "notes", "squirrelmail", "windows mail",
    "windowslivemail", "alpine", "webmail", "open-xchange", "horde", "s-nail", "heirloom", "postbox", "eudora",
    "the bat", "airmail", "spark",
)  # fmt: skip

SCAN_SUBJECTS = (
    "message from km_", "message from km-", "message from bizhub", 'message from "rnp', "message from rnp",
    "scan from a xerox", "scanned from a xerox", "scan data from", "scanned image from", "scan to e-mail",
    "scanned document from", "send data from mfp", "scan from hp", "scan from epson", "scan from canon",
    "attached image from", "[scan]", "document from kyocera",
)  # fmt: skip

ALERT_SUBJECTS = (
    "[auto generated]", "[auto-generated]", "[automated]", "** problem", "** recovery", "*** problem", "*** recovery",
    "[firing", "[alert]", "[critical]", "[warning]", "[prtg", "[zabbix", "[nagios", "[monitoring", "problem: ",
    "recovery: ", "critical: ", "cron <", "anacron job", "logwatch for", "output from your job", "smart error",
    "degradedarray event", "fail event on", "[backup failed]", "[failed] ", "[success] ", "backup job ",
    "backup report", "backup failed", "ups alert", "ups: ", "apc ups:", "[ups]", "device alert",
    "event notification from", "toner low", "low toner", "supply alert", "printer alert", "message from apc",
    "snmp trap",
)  # fmt: skip
AUTOMATED_PHRASES = (
    "this is an automated", "this is an automatic", "this is an auto-generated", "this is an auto generated",
    "this is a system generated", "this is a system-generated", "this e-mail was sent automatically",
    "this email was sent automatically", "this message was sent automatically",
    "this message was generated automatically", "this message was automatically generated",
    "this email was automatically generated", "this email has been automatically generated",
    "this email was generated automatically", "this e-mail was automatically generated",
    "this e-mail was generated automatically", "automated message from", "automatically generated message",
    "please do not reply to this", "please don't reply to this", "do not reply to this",
    "do not reply directly to this", "please do not reply directly to this", "replies to this email",
    "replies to this address are not", "** this is an auto", "*** this is an auto", "*** please do not reply",
    "[this is an automated",
)  # fmt: skip

# Nobody writes by hand from these.
NEWSLETTER_SENDERS = frozenset(
    {
        "newsletter", "newsletters", "e-news", "enews", "enewsletter", "e-newsletter", "bulletin", "campaign",
        "mailing", "mailings",
    }
)  # fmt: skip
MARKETING_SENDERS = frozenset(
    {
        "newsletter", "newsletters", "news", "marketing", "offers", "deals", "promo", "promotions", "events",
        "mailing", "campaign", "hello", "updates", "e-news", "enews", "webinars", "sales", "bulletin", "email", "e",
    }
)  # fmt: skip

CAMPAIGN_FIELDS = (
    "x-mc-user", "x-campaign", "x-campaignid", "x-campaign-id", "x-mailchimp-campaign", "x-csa-complaints",
    "x-mailin-campaign", "x-mailin-client", "x-roving-id", "x-roving-campaignid", "x-hs-cid", "x-acelle-campaign-id",
    "x-cmail-campaign", "x-dm-campaign", "x-sfmc-stack", "x-pm-stream", "x-report-abuse", "x-newsletter", "x-ms-mktg",
    "x-emarsys-identify", "x-ymlpcode", "x-job",
)  # fmt: skip

UNSUBSCRIBE_WORDS = (
    "unsubscribe", "opt out of", "opt-out", "manage your preferences", "email preferences", "update your preferences",
    "se désabonner", "se désinscrire", "abmelden", "abbestellen", "darse de baja", "wypisz", "zrezygnuj",
    "atsisakyti", "cancelar a subscrição", "dezabon", "disiscri", "uitschrijven",
)  # fmt: skip

MAILING_PHRASES = (
    "you are receiving this", "you received this email because", "you have received this email because",
    "this email was sent to", "this e-mail was sent to", "this message was sent to", "sent to you because",
    "all rights reserved", "you subscribed to", "you signed up", "view this email in your browser", "view in browser",
    "view in your browser", "view it in your browser", "view online", "view this email online",
    "email not displaying", "having trouble viewing", "read online", "view web version", "view as a web page",
)  # fmt: skip

# A service that says one of these in its subject wants something done; its notice is a ticket, not a newsletter.
NOTICE_WORDS = (
    "expir", "renewal", "invoice", "failed", "failure", "alert", "action required", "password", "sign-in", "signin",
    "suspend", "security", "quota", "storage is", "almost full", "backup", "maintenance", "outage", "incident",
    "investigating", "resolved", "degraded", "is down", "critical", "warning", "overdue", "payment", "certificate",
    "verify", "disabled", "will be deleted",
)  # fmt: skip

AUTO_REPLY_FIELDS = (
    "x-autoreply", "x-auto-reply", "x-autoreply-from", "x-autorespond", "x-auto-respond", "x-autoresponder",
    "x-mail-autoreply", "x-autoreply-to", "x-vacation", "x-out-of-office", "x-ooo", "x-auto-response",
    "x-yahoo-autoresponder", "x-zoho-autoreply",
)  # fmt: skip

LIST_FIELDS = (
    "list-id", "list-post", "mailing-list", "x-mailing-list", "x-beenthere", "x-mailman-version", "x-ml-name",
)  # fmt: skip
