from mlflowc.diagnostic import Check, Severity
def _c(n,t): return Check(n,Severity.ERROR,t,"")
SYNTAX=_c("MLP101","a"); CHARACTER=_c("MLP102","a"); TOO_DEEP=_c("MLP103","a"); NO_EDITION=_c("MLP104","a"); EDITION=_c("MLP105","a")
UNIT=_c("MLP106","a"); ESCAPE=_c("MLP107","a"); BARE_NAME=_c("MLP108","a"); OPEN_STRING=_c("MLP109","a"); OPEN_BRACKET=_c("MLP110","a")
STRAY_BRACKET=_c("MLP111","a"); KEYWORD=_c("MLP112","a"); COLON_EQUALS=_c("MLP113","a"); QUOTES=_c("MLP114","a"); NOT_A_NAME=_c("MLP115","a")
YAML=_c("MLP116","a"); NOT_UTF8=_c("MLP117","a"); MORE=_c("MLP118","a"); COMMA=_c("MLP119","a")
CHECKS=(SYNTAX,)
