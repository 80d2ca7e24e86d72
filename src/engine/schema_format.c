/* schema_format.c: what `format` says. Formats of the specification and of common readers are subsets of what they allow, so that every reader agrees;
 * those of integers are bounds. A name that is not in the table says nothing, as the specification has it: it is a note to people. */
#include "engine/schema.h"

#define DATE                                                                                                           \
  "([1-9][0-9]{3}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-" \
  "8]))"                                                                                                               \
  "|([1-9][0-9](0[48]|[2468][048]|[13579][26])|([2468][048]|[13579][26])00)-02-29)"
#define TIME "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
/* No two hyphens in a row: behind two letters they announce what few readers check alike. Short labels may be many, long ones few: 253 in all. */
#define ALNUM "[a-zA-Z0-9]"
#define LABEL ALNUM "(-?" ALNUM "){0,14}"
#define LONG "(" ALNUM "(-?" ALNUM "){0,30}|" ALNUM "{1,63})"
#define HOST "(" LABEL "(\\." LABEL "){0,7}|" LONG "(\\." LONG "){0,2})"
#define OCTET "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
#define IPV4 "(" OCTET "\\.){3}" OCTET
#define HEX4 "[0-9a-fA-F]{1,4}"
#define IPV6                                                                                                         \
  "(" HEX4 ":){7}" HEX4 "|::(" HEX4 "(:" HEX4 "){0,5})?|" HEX4 "::(" HEX4 "(:" HEX4 "){0,4})?|(" HEX4 ":){1}" HEX4   \
  "::(" HEX4 "(:" HEX4 "){0,3})?|(" HEX4 ":){2}" HEX4 "::(" HEX4 "(:" HEX4 "){0,2})?|(" HEX4 ":){3}" HEX4 "::(" HEX4 \
  "(:" HEX4 ")?)?|(" HEX4 ":){6}" IPV4 "|::(" HEX4 ":){0,5}" IPV4 "|" HEX4 "::(" HEX4 ":){0,4}" IPV4 "|(" HEX4       \
  ":){1}" HEX4 "::(" HEX4 ":){0,3}" IPV4
#define ATOM "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]"
#define EMAIL ATOM "{1,20}(\\." ATOM "{1,20}){0,2}@" LABEL "(\\." LABEL "){1,7}"
#define ESCAPED "%[0-9a-fA-F]{2}"
#define UNRESERVED "([a-zA-Z0-9._~!$&'()*+,;=:@-]|" ESCAPED ")"
#define PATH "(/" UNRESERVED "*)*"
#define TAIL "(\\?(" UNRESERVED "|[/?])*)?(#(" UNRESERVED "|[/?])*)?"
#define URI                                                                                                         \
  "[a-zA-Z][a-zA-Z0-9+.-]*:(//([a-zA-Z0-9._~-]+@)?" LABEL "(\\." LABEL "){0,7}(:[0-9]{1,4})?" PATH "|/?" UNRESERVED \
  "+" PATH ")" TAIL
#define REFERENCE "(" URI "|/?([a-zA-Z0-9._~-]+" PATH ")?" TAIL ")"
#define UUID(version) "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-" version "[0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}$"
#define DIGITS "[0-9]{1,9}"
#define CLOCK "(" DIGITS "H(" DIGITS "M(" DIGITS "S)?)?|" DIGITS "M(" DIGITS "S)?|" DIGITS "S)"
/* Integers have bounds, all others a pattern. */
static const struct {
  const char *name, *pattern, *min, *max;
} formats[] = {
    {"date", "^" DATE "$", NULL, NULL}, /* RFC 3339 full-date, years 1000 to 9999 */
    {"time", "^" TIME "$", NULL, NULL}, /* full-time, without leap seconds */
    {"date-time", "^" DATE "T" TIME "$", NULL, NULL},
    {"duration",
     "^P(" DIGITS "W|(" DIGITS "Y(" DIGITS "M(" DIGITS "D)?)?|" DIGITS "M(" DIGITS "D)?|" DIGITS "D)(T" CLOCK
     ")?|T" CLOCK ")$",
     NULL, NULL},
    {"email", "^" EMAIL "$", NULL, NULL},
    {"idn-email", "^" EMAIL "$", NULL, NULL},
    {"hostname", "^" HOST "$", NULL, NULL},
    {"idn-hostname", "^" HOST "$", NULL, NULL},
    {"ipv4", "^" IPV4 "$", NULL, NULL},
    {"ipv6", "^(" IPV6 ")$", NULL, NULL},
    {"uri", "^" URI "$", NULL, NULL},
    {"iri", "^" URI "$", NULL, NULL},
    {"uri-reference", "^" REFERENCE "$", NULL, NULL},
    {"iri-reference", "^" REFERENCE "$", NULL, NULL},
    {"uri-template", "^" REFERENCE "$", NULL, NULL},
    {"json-pointer", "^(/([^~/]|~[01])*)*$", NULL, NULL},
    {"relative-json-pointer", "^(0|[1-9][0-9]{0,8})(#|(/([^~/]|~[01])*)*)$", NULL, NULL},
    {"uuid", "^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$", NULL, NULL},
    {"regex", "^([a-zA-Z0-9_ :,<>=@#%&~-]|\\\\[dswDSW.])*$", NULL, NULL},
    /* of draft 3 */
    {"ip-address", "^" IPV4 "$", NULL, NULL},
    {"host-name", "^" HOST "$", NULL, NULL},
    {"color", "^#[0-9a-fA-F]{6}$", NULL, NULL},
    /* what libraries check beyond the specification */
    {"url", "^https?://" LABEL "(\\." LABEL "){1,7}" PATH "$", NULL, NULL},
    {"iso-time", "^" TIME "$", NULL, NULL},
    {"iso-date-time", "^" DATE "T" TIME "$", NULL, NULL},
    {"json-pointer-uri-fragment", "^#(/[a-zA-Z0-9_.-]*)*$", NULL, NULL},
    {"uuid1", UUID("1"), NULL, NULL},
    {"uuid3", UUID("3"), NULL, NULL},
    {"uuid4", UUID("4"), NULL, NULL},
    {"uuid5", UUID("5"), NULL, NULL},
    {"byte", "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$", NULL, NULL}, /* base64 */
    {"int8", NULL, "-128", "127"},
    {"int16", NULL, "-32768", "32767"},
    {"int32", NULL, "-2147483648", "2147483647"},
    {"int64", NULL, NULL, NULL}, /* integers fit it by their digits */
    {"uint8", NULL, "0", "255"},
    {"uint16", NULL, "0", "65535"},
    {"uint32", NULL, "0", "4294967295"},
    {"uint64", NULL, "0", NULL},
};

/* The row, -1 where there is none. */
static int format_row(const myna__jnode *f) {
  for (int i = 0; f && f->kind == MYNA__J_STRING && i < (int)MYNA__COUNT(formats); i++)
    if (myna__str_eq(f->text, formats[i].name)) return i;
  return -1;
}

bool myna__schema_format_free(const myna__jnode *format) {
  int row = format_row(format);
  return row < 0 || !formats[row].pattern;
}

int myna__schema_format(myna__sc *c, myna__jnode *format, const myna__dfa **out) {
  const char *p = formats[format_row(format)].pattern;
  return myna__schema_pattern(c, format, (myna__str){p, strlen(p)}, false, out);
}

bool myna__schema_format_numbers(const myna__jnode *format, myna__numset *out) {
  int row = format_row(format);
  myna__dec d;
  if (row < 0 || formats[row].pattern) return false;
  const char *min = formats[row].min, *max = formats[row].max;
  out->integer = true;
  if (min && myna__dec_parse(&d, (myna__str){min, strlen(min)})) myna__num_add_min(out, &d, false);
  if (max && myna__dec_parse(&d, (myna__str){max, strlen(max)})) myna__num_add_max(out, &d, false);
  return true;
}
