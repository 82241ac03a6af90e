"""BCP-47 tags from the forms in which tables name a language: tags, locales and names."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

# ISO 639 codes with English names, then names in the language itself. A table, because langcodes
# needs three packages and an extension in C for names.
_NAMES = """
af Afrikaans; ak Akan; am Amharic, አማርኛ; ar Arabic, العربية, عربي; as Assamese; ay Aymara; az Azerbaijani, Azeri; be Belarusian;
bg Bulgarian, Български; bho Bhojpuri; bm Bambara; bn Bengali, Bangla, বাংলা; bo Tibetan; br Breton; bs Bosnian; ca Catalan,
Valencian, Català; ceb Cebuano; ckb Central Kurdish, Sorani; co Corsican; cs Czech, Čeština; cy Welsh, Cymraeg; da Danish, Dansk;
de German, Deutsch; dv Dhivehi, Maldivian; ee Ewe; el Greek, Modern Greek, Ελληνικά; en English; eo Esperanto; es Spanish,
Castilian, Español; et Estonian, Eesti; eu Basque, Euskara; fa Persian, Farsi, فارسی; fa-AF Dari; ff Fulah, Fula; fi Finnish,
Suomi; fil Filipino, Pilipino; fo Faroese; fr French, Français; fy Western Frisian, Frisian; ga Irish, Gaeilge; gd Scottish
Gaelic, Gaelic; gl Galician, Galego; gn Guarani; gu Gujarati, ગુજરાતી; gv Manx; ha Hausa; haw Hawaiian; he Hebrew, עברית; hi
Hindi, हिन्दी, हिंदी; hmn Hmong; hr Croatian, Hrvatski; ht Haitian, Haitian Creole; hu Hungarian, Magyar; hy Armenian; ia Interlingua; id
Indonesian, Bahasa Indonesia; ig Igbo; is Icelandic, Íslenska; it Italian, Italiano; iu Inuktitut; ja Japanese, 日本語; jv
Javanese; ka Georgian, ქართული; kk Kazakh; kl Kalaallisut, Greenlandic; km Khmer, Central Khmer; kn Kannada, ಕನ್ನಡ; ko Korean,
한국어; ku Kurdish; kmr Northern Kurdish, Kurmanji; ky Kyrgyz, Kirghiz; la Latin; lb Luxembourgish; lg Ganda, Luganda; ln Lingala; lo Lao; lt Lithuanian, Lietuvių; lv
Latvian, Latviešu; mai Maithili; mg Malagasy; mi Maori, Māori; mk Macedonian; ml Malayalam, മലയാളം; mn Mongolian; mni Manipuri,
Meitei; mr Marathi, मराठी; ms Malay, Bahasa Melayu; mt Maltese; my Burmese, Myanmar; nb Norwegian Bokmål, Bokmål; ne Nepali, नेपाली; nl Dutch,
Flemish, Nederlands; nn Norwegian Nynorsk, Nynorsk; no Norwegian, Norsk; nso Northern Sotho, Pedi, Sepedi; ny Chichewa, Nyanja,
Chewa; oc Occitan; om Oromo; or Odia, Oriya; pa Punjabi, Panjabi, ਪੰਜਾਬੀ; pcm Nigerian Pidgin; pl Polish, Polski; ps Pashto, Pushto; pt
Portuguese, Português; pt-BR Brazilian Portuguese; qu Quechua; rm Romansh; rn Rundi, Kirundi; ro Romanian, Moldavian, Română; ru
Russian, Русский; rw Kinyarwanda; sa Sanskrit; sc Sardinian; sd Sindhi; se Northern Sami; si Sinhala, Sinhalese; sk Slovak,
Slovenčina; sl Slovenian, Slovene, Slovenščina; sm Samoan; sn Shona; so Somali; sq Albanian, Shqip; sr Serbian, Српски, Srpski; ss Swati; st Sotho,
Southern Sotho, Sesotho; su Sundanese; sv Swedish, Svenska; sw Swahili, Kiswahili; ta Tamil, தமிழ்; te Telugu, తెలుగు; tg Tajik; th
Thai, ไทย; ti Tigrinya; tk Turkmen; tl Tagalog; tn Tswana, Setswana; to Tongan; tr Turkish, Türkçe; ts Tsonga; tt Tatar; tw Twi; ug Uighur, Uyghur; uk Ukrainian,
Українська; ur Urdu, اردو; uz Uzbek; vi Vietnamese, Tiếng Việt; wo Wolof; xh Xhosa; yi Yiddish; yo Yoruba; yue Cantonese, 粵語;
zh Chinese, Mandarin, Mandarin Chinese, 中文, 汉语, 漢語; zh-Hans Simplified Chinese, 简体中文; zh-Hant Traditional Chinese, 繁體中文; zu
Zulu, isiZulu
"""
_REGIONS = """
BR Brazil; PT Portugal; US United States, USA, American; GB United Kingdom, UK, British, Britain; CA Canada; AU Australia; IN
India; MX Mexico; ES Spain; FR France; CH Switzerland; AT Austria; DE Germany; CN China; TW Taiwan; HK Hong Kong; BE
Belgium; NL Netherlands; AR Argentina; EG Egypt; MA Morocco; SA Saudi Arabia; 419 Latin America, Latin American; Hans Simplified;
Hant Traditional; Latn Latin, Latin script; Cyrl Cyrillic, Cyrillic script
"""
_TAG = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{1,8})*")
_LOCALE_SUFFIX = re.compile(r"[.@][\w.@-]*$")
_QUALIFIED = re.compile(r"([^()\[\],]+?)\s*(?:[(\[]\s*([^()\[\]]+?)\s*[)\]]|,\s*([^()\[\],]+))")


def find_language_tag(value: str) -> str | None:
    """Find the tag that a tag, locale or name means; None if it means none.

    Example:
        >>> [find_language_tag(value) for value in ("en_US.UTF-8", "French", "Chinese (Simplified)")]
        ['en-US', 'fr', 'zh-Hans']
    """
    text = value.strip()
    if (tag := _name_table().get(_fold(text))) is not None:
        return tag
    if qualified := _QUALIFIED.fullmatch(text):
        tag = _name_table().get(_fold(qualified[1]))
        region = _region_table().get(_fold(qualified[2] or qualified[3]))
        return f"{tag}-{region}" if tag and region else None
    tag = _LOCALE_SUFFIX.sub("", text).replace("_", "-")
    return tag if _TAG.fullmatch(tag) else None


def _fold(name: str) -> str:
    return " ".join(unicodedata.normalize("NFC", name).casefold().split())


def _parse_table(table: str) -> dict[str, str]:
    entries = (entry.split(maxsplit=1) for entry in table.split(";"))
    return {_fold(name): code for code, names in entries for name in names.split(",")}


@cache
def _name_table() -> dict[str, str]:
    return _parse_table(_NAMES)


@cache
def _region_table() -> dict[str, str]:
    return _parse_table(_REGIONS)
