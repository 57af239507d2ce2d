"""Rules for credentials: keys and tokens by their published forms, passwords by the words beside them."""

from __future__ import annotations

import re

from tinsmith.corpus.privacy.checks import entropy, looks_random
from tinsmith.corpus.privacy.rules import Rule, rule

_END = r"(?![A-Za-z0-9_-])"
_EMPTY_WORDS = re.compile(
    r"(?i)(?:none|null|true|false|undefined|required|optional|example|changeme\W|your|my|os|env|process|self|config|"
    r"settings|getenv|input|string|str|\$|<|\{|\[|\*{3}|x{4}|\.{3}|%)"
)


def _token(name: str, anchors: str, body: str, type: str = "access_token") -> Rule:
    return rule(name, type, anchors, rf"(?<![A-Za-z0-9]){body}{_END}", _mixed, after=300)


def _mixed(value: str) -> bool:
    """Return whether a value looks random enough for a token, unlike a word or a repeated letter."""
    return entropy(value[-24:]) > 2.5


def _password(value: str) -> bool:
    """Return whether the text after `password =` is a password: not a variable, a call or a plain word."""
    if _EMPTY_WORDS.match(value) or "(" in value or value.startswith(("http:", "https:", "/")):
        return False
    digit, symbol = any(map(str.isdigit, value)), any(character in "!@#$%^&*+=?~" for character in value)
    letters = any(map(str.isalpha, value))
    mixed_case = value.isalpha() and not (value.islower() or value.isupper() or value.istitle())
    return (
        (digit and letters) or (symbol and letters) or (mixed_case and entropy(value) > 3 and len(value) > 9)
    )


def _secret(value: str) -> bool:
    return (
        not _EMPTY_WORDS.match(value)
        and looks_random(value)
        and value.count("/") < 4
        and value.count(".") < 4
    )


_ASSIGN = r"[\"'`]?\s{0,3}(?:=>|:=|=|:|\bis\b|>)\s{0,3}[\"'`]?"
_KEY_WORDS = (
    r"(?:secret|token|api[ _-]?key|access[ _-]?key|auth[ _-]?key|client[ _-]?key|private[ _-]?key|encryption[ _-]?key|"
    r"signing[ _-]?key|credentials?|x-api-key)"
)

CREDENTIALS: tuple[Rule, ...] = (
    rule(
        "pem", "private_key", "-----begin ",
        r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----(?:(?!-----)[\s\S]){0,20000}(?:-----END [A-Z0-9 ]{0,40}-----)?",
        after=21_000,
    ),
    rule("putty", "private_key", "putty-user-key-file-", r"PuTTY-User-Key-File-\d:[\s\S]{20,8000}?Private-MAC: \w+", after=9000),
    rule("age", "private_key", "age-secret-key-1", r"AGE-SECRET-KEY-1[A-Z0-9]{58}"),
    rule("jwt", "jwt", "eyj", r"(?<![\w-])eyJ[\w-]{8,4000}\.[\w-]{8,8000}\.[\w-]{8,2000}", after=15_000),
    _token("aws_access_key", "akia|asia|abia|acca", r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}", "cloud_key"),
    rule(
        "aws_secret_key", "cloud_key", "secret_access_key|secretaccesskey|secret access key|aws_secret|secret_key",
        r"(?:secret[_ ]?access[_ ]?key|aws_secret\w*|secret_key)\W{1,8}(?:is\s)?\W{0,3}([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+])",
        looks_random, any_case=True,
    ),
    _token("google_api_key", "aiza", r"AIza[0-9A-Za-z_-]{35}", "cloud_key"),
    _token("google_client_secret", "gocspx-", r"GOCSPX-[0-9A-Za-z_-]{28}", "cloud_key"),
    rule("azure_storage_key", "cloud_key", "accountkey=|sharedaccesskey=", r"(?:Account|SharedAccess)Key=([A-Za-z0-9+/]{43,86}={1,2})"),
    rule("azure_client_secret", "cloud_key", "8q~", r"(?<![\w~.-])[\w~.-]{3}8Q~[\w~.-]{31,34}", before=3),
    rule("azure_sas", "cloud_key", "sig=", r"(?<=[?&;])sig=([A-Za-z0-9%+/]{40,80}(?:%3D|=))", any_case=True),
    _token("github", "ghp_|gho_|ghu_|ghs_|ghr_", r"gh[pousr]_[A-Za-z0-9]{36,255}"),
    _token("github_fine", "github_pat_", r"github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}"),
    _token("gitlab", "glpat-|gldt-|glrt-|glptt-", r"gl(?:pat|dt|rt|ptt)-[\w-]{20,64}"),
    _token("slack", "xoxa-|xoxb-|xoxp-|xoxr-|xoxs-|xoxo-|xoxe-|xapp-", r"(?:xox[abposre]|xapp)-[0-9A-Za-z-]{10,250}"),
    rule("slack_hook", "access_token", "hooks.slack.com/services/", r"hooks\.slack\.com/services/T\w{6,}/B\w{6,}/\w{20,}"),
    _token("stripe", "sk_live_|sk_test_|rk_live_|rk_test_|whsec_", r"(?:[sr]k_(?:live|test)|whsec)_[0-9A-Za-z]{16,120}"),
    _token("anthropic", "sk-ant-", r"sk-ant-[\w-]{24,200}"),
    _token("openai", "sk-", r"sk-(?:proj-|svcacct-|admin-|or-v1-)?(?=[\w-]{0,200}\d)[\w-]{32,200}"),
    _token("hugging_face", "hf_", r"hf_[A-Za-z0-9]{34,40}"),
    _token("npm", "npm_", r"npm_[A-Za-z0-9]{36}"),
    _token("pypi", "pypi-ageichlwas", r"pypi-AgEIcHlwaS[\w-]{40,250}"),
    rule("sendgrid", "access_token", "sg.", r"(?<!\w)SG\.[\w-]{22}\.[\w-]{43}(?![\w-])"),
    _token("twilio", "sk|ac", r"(?:SK|AC)[0-9a-f]{32}"),
    _token("mailgun", "key-", r"key-[0-9a-f]{32}"),
    rule("telegram", "access_token", ":aa", r"(?<!\w)\d{8,10}:AA[\w-]{33}(?![\w-])", before=10),
    _token("digitalocean", "dop_v1_|doo_v1_", r"do[op]_v1_[0-9a-f]{64}"),
    _token("shopify", "shpat_|shpss_|shpca_", r"shp(?:at|ss|ca)_[0-9a-fA-F]{32}"),
    _token("databricks", "dapi", r"dapi[0-9a-f]{32}(?:-\d)?"),
    _token("docker", "dckr_pat_", r"dckr_pat_[\w-]{27,40}"),
    _token("vault", "hvs.|hvb.", r"hv[sb]\.[\w-]{24,200}"),
    _token("grafana", "glsa_|glc_", r"gl(?:sa|c)_[A-Za-z0-9_=+/]{32,400}"),
    _token("linear", "lin_api_", r"lin_api_[A-Za-z0-9]{40}"),
    rule("url_password", "password", "://", r"://[^\s/:@\"'<>]{0,100}:([^\s@/\"'<>\[]{1,128})@(?=[\w\[])", after=260),
    rule("bearer", "secret", "bearer ", r"bearer\s{1,4}([\w.~+/=-]{16,2000})", looks_random, after=2100, any_case=True),
    rule("basic", "secret", "basic ", r"authorization[\"']?\s{0,3}[:=]\s{0,3}[\"']?basic\s{1,4}([A-Za-z0-9+/]{8,400}={0,2})", before=24, after=420, any_case=True),
    rule(
        "password", "password", "passw|pwd|passphrase|passcode|db_pass|_pass=|\"pass\"",
        rf"(?:password|passwd|pwd|passphrase|passcode|(?<=_)pass|(?<=\")pass)(?:_?\w{{1,12}})?{_ASSIGN}([^\s\"'`,;<>\[\]]{{4,128}})",
        lambda value: _password(value.rstrip(".!?)")), any_case=True,
    ),
    rule(
        "key_word", "secret", "secret|token|key|credential",
        rf"{_KEY_WORDS}[\w-]{{0,24}}{_ASSIGN}(?:bearer\s)?([A-Za-z0-9_+/=.~-]{{16,512}})",
        _secret, before=10, after=600, any_case=True,
    ),
)  # fmt: skip
