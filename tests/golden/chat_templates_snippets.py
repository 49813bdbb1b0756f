# SPDX-License-Identifier: Apache-2.0
"""Small templates that exercise the language: a source, or (source, variables)."""

D = {"d": {"b": 2, "a": 1, "C": [1, 2.0, None, True, "x'y"]}, "l": [3, 1, 2], "s": "Hello Wörld", "n": None,
     "users": [{"name": "bob", "age": 3}, {"name": "Al", "age": 10}, {"name": "cy"}], "e": [], "t": True, "f": 1.5}

EXPRESSIONS = r"""
1 + 2 * 3 ~ 4
-2 ** 2
2 ** 3 ** 2
2 ** -1
7 // 2, -7 // 2, 7 // -2, 7 % 3, -7 % 3, 7 % -3
7.5 // 2, -7.5 // 2, 7.5 % 2, -7.5 % 2, 1 / 2, 4 / 2
1 / 0
1 % 0
1.0, 1e5, 1e16, 1.5e-7, 123456789.125, 1e300, 0.1 + 0.2, -0.0, 100000000000000000000.0
1_000 + 0x1F + 0b101 + 0o17
9223372036854775807
true, True, false, none, None
not true, not 0, not "", not []
1 < 2 < 3, 1 < 3 < 2, 3 > 2 >= 2, 1 == 1.0, 1 == true, "a" == 1, none == none
1 < "a"
[1, 2] < [1, 3], "a" < "b", "B" < "a", (1, 2) < (1, 2, 0)
1 in l, 5 in l, "ell" in s, "b" in d, 1 not in l, not 1 in l
1 in "abc"
1 in 5
"a" if true else "b", "a" if false else "b", ("x" if false) is defined
"a" if false
1 or 2, 0 or 2, 1 and 2, 0 and 2, none or "x"
undefined_name
undefined_name.foo
undefined_name["foo"]
undefined_name + 1
undefined_name ~ "x"
undefined_name == undefined_other, undefined_name is defined, undefined_name | default("z")
undefined_name | length, undefined_name | list, undefined_name | string, undefined_name | upper
undefined_name | tojson
undefined_name | int
undefined_name()
-undefined_name
undefined_name < 1
1 in undefined_name
undefined_name[1:]
d.missing is defined, d.missing, d["missing"] is undefined
d.missing.more
d.a, d["a"], d.C[0], d.C.0, d.C[-1], d.C[10] is defined
d
d.C, [d], (1,), (), (1, 2), {}, [], {"k": {"n": [1]}}
{1: "a", 1.0: "b", true: "c", none: 0, (1, 2): "t"}
{[1]: 2}
"it's", 'say "x"', "\t\n\\ \x41 \u00e9 \101 \q"
["it's", 'say "x"', "both ' and \"", "\t\n\r\\", "\x07\x7f\u00a0\u200b", "é😀", "\u2028"]
"a" "b" 'c'
"a" + 1
"a" * 3, 3 * "ab", "a" * -1, [1] * 2, (1,) * 2
[1] + [2], (1,) + (2,), "a" + "b"
[1] + (2,)
l[::-1], l[1:], l[:-1], l[-2:], l[::2], l[5:], l[-100:100], l[2:0:-1], l[:1], l[None:2] if false else 1
s[0], s[-1], s[1:4], s[::-1], s[7:], s[::3], s[100:] ~ "|", s[100] is defined
s[::0]
d[1:]
n[1:]
l["x"] is defined, none.x is defined, (5).x is defined, (5)[0] is defined
s.upper(), s.lower(), s.title(), s.capitalize(), s.swapcase(), "ß".upper(), "ΑΣ".lower(), "o'neil-x".title()
"  a b  ".strip() ~ "|", "  a ".lstrip() ~ "|", "  a ".rstrip() ~ "|", "xxaxx".strip("x"), "abcba".strip("ab"), "éaé".strip("é")
"a b  c".split(), "a,b,,c".split(","), "a,b,c".split(",", 1), "a b c".split(None, 1), "a b  c ".rsplit(None, 1), "a,b,c".rsplit(",", 1), "".split(), "".split(","), "a--b".split("--"), "a b c".split(maxsplit=1)
"a".split("")
"a\nb\r\nc\x0bd\u2028e".splitlines(), "a\n".splitlines(true), "".splitlines(), "\n\n".splitlines()
s.startswith("He"), s.endswith("ld"), s.startswith(("x", "H")), s.startswith("l", 2), s.endswith("o", 0, 5)
s.startswith(1)
"aXbX".replace("X", "-"), "aXbX".replace("X", "-", 1), "abc".replace("", "-"), "abc".replace("", "-", 2), "aaa".replace("a", "")
s.find("o"), s.find("zz"), s.rfind("o"), s.count("l"), s.index("W"), s.find("l", 4), "ab".count("")
s.index("zz")
"-".join(["a", "b"]), "".join("abc"), ", ".join(d)
"-".join([1])
"{} {1}".format(1, 2)
"{} {}".format(1, "x"), "{0} {1} {0}".format("a", "b"), "{a}-{b[0]}-{c.x}".format(a=1, b=[2], c={"x": 3}), "{{}}".format()
"{:5}|{:<5}|{:>5}|{:^5}|{:05d}|{:.2f}|{:,}|{:x}|{:*^7}".format("a", "b", "c", "d", 42, 3.14159, 1234567, 255, "m")
"{!r} {!s}".format("x", "y"), "{:+d} {:e} {:g} {:%} {:b}".format(5, 12345.678, 0.0001, 0.25, 5)
"{} {}".format(1)
"{x}".format()
"%s %d %5.2f %r %% %x %05d %-5s| %+d" % ("a", 3, 2.5, "q", 255, 42, "l", 7)
"%s" % "x", "%s" % [1], "%(a)s %(b)d" % {"a": "x", "b": 2}, "%c" % "x", "%.1f" % 2, "%i" % 3.7
"%s %s" % "x"
"%s" % (1, 2)
"%d" % "x"
"x" % 1
"abc".removeprefix("a"), "abc".removesuffix("c"), "abc".removeprefix("z")
"12".isdigit(), "a1".isalnum(), "ab".isalpha(), " ".isspace(), "AB".isupper(), "ab".islower(), "".isdigit(), "Ab Cd".istitle(), "ab".isascii(), "a_1".isidentifier()
"5".zfill(3), "-5".zfill(4), "a".center(4) ~ "|", "a".ljust(3, ".") ~ "|", "a".rjust(3) ~ "|", "ab".center(5, "*")
"a=b=c".partition("="), "a=b=c".rpartition("="), "a".partition("=")
s.nosuch is defined, s.__class__ is defined
d.items(), d.keys(), d.values(), d.get("a"), d.get("zz"), d.get("zz", 5)
d.items() | list, d.keys() | list, d | list, d | length, d.items() | length
d.update({"x": 1})
l.append(4)
l.index(1), l.count(3), l.index(9) if false
l.index(9)
d.copy() == d, {"items": 5}.items is callable, {"items": 5}["items"]
s | trim, s | length, s | upper, s | lower, s | title, s | capitalize, "foo bar-baz (qux) o'neil" | title
l | first, l | last, l | sort, l | sort(reverse=true), l | sum, l | min, l | max, l | join, l | join("-"), l | reverse | list
e | first is defined, e | last is defined, e | min is defined, e | sum, e | join
users | map(attribute="name") | list, users | map(attribute="age", default=0) | list, l | map("string") | join(","), ["a", "b"] | map("upper") | list
users | map(attribute="age") | list
users | selectattr("age") | map(attribute="name") | list, users | rejectattr("age") | list, users | selectattr("age", "defined") | list | length
users | selectattr("name", "equalto", "bob") | list, users | selectattr("name", "in", ["Al", "cy"]) | map(attribute="name") | list
[1, 2, 3, 4] | select("even") | list, [1, 2, 3, 4] | reject("odd") | list, [0, 1, "", "a"] | select | list, [1, 2, 3] | select("gt", 1) | list
users | sort(attribute="name") | map(attribute="name") | list, ["b", "A", "c"] | sort, ["b", "A", "c"] | sort(case_sensitive=true)
users | sort(attribute="age")
[1, "a"] | sort
users | groupby("name") | list
[{"k": 1, "v": 1}, {"k": 2, "v": 2}, {"k": 1, "v": 3}] | groupby("k")
[1, 1.0, "a", "A", "b", true] | unique | list, ["a", "A"] | unique(case_sensitive=true) | list
d | dictsort, d | dictsort(true), {"a": 2, "b": 1} | dictsort(by="value"), {"a": 2, "b": 1} | dictsort(reverse=true)
d | tojson, d | tojson(indent=2), [] | tojson(indent=2), {"a": {}, "b": []} | tojson(indent=4)
{"é": "ü\u2028\x07\"\\/<>&'"} | tojson, "é😀" | tojson(ensure_ascii=true), d | tojson(sort_keys=true) if false
{"b": 1, "a": [1, 2]} | tojson(separators=(",", ":")), {"b": 1, "a": 2} | tojson(sort_keys=true), {1: 2, none: 3, true: 4, 1.5: 5} | tojson
[1.0, 1e20, 1e-7, true, none, 10, -3, 0.1] | tojson, (1, 2) | tojson, [] | tojson, {} | tojson, "" | tojson
[undefined_name] | tojson
{"a": 1} | tojson(indent="\t"), [[1], [2]] | tojson(indent=0), [1, 2] | tojson(indent=1, separators=(", ", ": "))
{(1, 2): 3} | tojson
range | tojson
"3" | int, "x" | int, "x" | int(7), 3.9 | int, -3.9 | int, " 12 " | int, "0x1f" | int(base=16), "1_000" | int, "3.7" | int, none | int, true | int, "inf" | int
"3.5" | float, "x" | float, 3 | float, "1e3" | float, "x" | float(1.5), "nan" | float
-5 | abs, -5.5 | abs, 3.7 | round, 3.14159 | round(2), 2.5 | round, 3.5 | round, 3.2 | round(method="ceil"), 3.8 | round(0, "floor"), 5 | round, 1234 | round(-2)
"x" | abs
none | default("a"), "" | default("a"), "" | default("a", true), none | d("a", boolean=true), 0 | default(1, true)
"a\nb\n\nc" | indent, "a\nb" | indent(2, true), "a\n\nb" | indent(2, blank=true), "a\nb" | indent(">> ")
"a b c" | wordcount, "hello world foo bar" | truncate(9), "hello world foo bar" | truncate(9, true), "hello" | truncate(9), "hello world foo" | truncate(8, false, "..", 0)
"abc" | replace("b", "X"), "aaa" | replace("a", "b", 2), "abc" | reverse, 5 | string, [1] | string, "%s-%s" | format(1, "a")
[1, 2, 3, 4, 5] | batch(2) | list, [1, 2, 3] | batch(2, 0) | list, [1, 2, 3, 4, 5] | slice(2) | list, [1, 2, 3] | slice(2, "x") | list
"<a>&'\"" | escape, "<a>" | e, "<b>" | safe, "<a>" | escape | escape, ("<a>" | safe) + "<b>", "a b/c?d=é" | urlencode
{"a": 1, "b": "x y"} | urlencode, "a" | center(5) ~ "|", d | items | list, "xay" | trim("xy")
5 | items | list
5 | length
l | map("upper") | list | length, l | map("nosuch") | list
l | nosuch
l is nosuch
l | attr("count") is defined, d | attr("a") is defined
1 is number, 1.0 is float, 1 is integer, true is integer, true is number, true is boolean, "a" is string, none is none, d is mapping, l is sequence, s is sequence, d is sequence, l is iterable, 5 is iterable
s is iterable, range is callable, 4 is even, 3 is odd, 6 is divisibleby 3, 6 is divisibleby(4), 1 is eq 1, 1 is equalto(2), 1 is ne 2, 1 is lt 2, 3 is gt 2, 2 is ge 2, 2 is le 1, 1 is in [1], "a" is in "abc"
"abc" is lower, "ABC" is upper, "a1" is lower, "1" is lower, true is true, 1 is true, false is false, none is sameas none, 1 is sameas 1, l is sameas l
l is not none, l is not string and true, not l is string, 1 is defined is defined
"upper" is filter, "nosuch" is filter, "even" is test, undefined_name is undefined, undefined_name is none, undefined_name is iterable, undefined_name is sequence, undefined_name is callable
"a" is even
range(3), range(1, 4) | list, range(5, 0, -2) | list, range(3) | length, range(3)[1], 2 in range(3), range(0, 10, 3), range(3)[::-1] | list
range(100001)
range(1, 2, 0)
range("a")
dict(a=1, b=2), dict({"x": 1}, y=2), dict([("a", 1)]), dict()
namespace(a=1).a, namespace().x is defined, namespace(a=1)
namespace(a=1)["a"], namespace({"z": 1}).z
strftime_now("%Y-%m-%d %H:%M:%S %A %B %j %d %b %y %% %p %I")
raise_exception("no good")
l | sort | first | string | length
l | length > 2, l|length - 1, -1 | abs, (-1) | abs, -l[0] | abs
s | replace("l", "L") | upper ~ "!" * 3
[x for x in l]
1 +
(1
l[
"abc
a b
1 = 2
{"a" 1}
foo(a=1, 2)
dict(a=1, a=2)
dict(**{"a": 1}), dict(*[[("b", 2)]]), "{}{}".format(*[1, 2]), dict(a=1, **{"b": 2})
dict(**5)
"a" is string or false, "a" is string and "b" is string, 1 is number if true else 2
1 if true else 2 if false else 3
[1, 2,], (1, 2,), {"a": 1,}
1 == 1 == 1, 1 < 2 == 2, (1 < 2) == true
"abc"[1], "abc".1, [[1, 2], [3]][0][1], {"a": [1]}.a[0]
l.0, l.5 is defined
s.split(" ")[1][0], s.split("o") | last, d.C[4].split("'")[0]
[] is sameas [], 1.5 is sameas 1.5 or true
9223372036854775807 - 1, 4611686018427387904 * 1
0.1 + 0.7, 1 - 0.9, 3.0 * 2, 10 / 4, 1e3, 5e-324, 1.7976931348623157e308, 2.0 ** 0.5
1 ~ none ~ true ~ 1.0 ~ [1] ~ undefined_name
{"a": 1} == {"a": 1.0}, [1, [2]] == [1, [2.0]], (1,) == [1], {"a": 1, "b": 2} == {"b": 2, "a": 1}
"é" | length, "😀"[0], "a😀b"[::-1], "naïve".find("v"), "😀a".index("a"), "日本語".center(7, "*")
true + true, true * 3, -true, +true, not not true, true // 1
"x" in ["x", 1], none in [none], 1.0 in [1], "1" in [1]
users[0].name, users[0]["name"], (users | first).name, users[-1].age is defined, users | map(attribute="name") | join(", ") | upper
users | sum(attribute="x")
[{"v": 1}, {"v": 2.5}] | sum(attribute="v"), [[1], [2]] | sum(start=[]), [1, 2] | sum(start=10)
users | map(attribute="name.0") | list, [[1, 2], [3, 4]] | map(attribute=1) | list, [[1, 2]] | map("first") | list, [[3, 1]] | map("sort") | list
users | max(attribute="name"), ["b", "A"] | min, ["b", "A"] | max, [1, 2.5] | max, ["B", "a"] | min(case_sensitive=true)
[3, 1] | map("abs") | list, 1
cycler(1, 2).next(), joiner("-")() ~ "|"
(1, 2, 3)[1:], "abc" | list, "abc" | first, "abc" | last, "abc" | join("."), {"x": 1, "y": 2} | join(","), d | first, d | last
"%s" | format("a", b=1)
"a" is nosuch if false else "skipped", ("a" | nosuch) if false else "skipped"
"{0.__class__}".format(1)
"\u00e9" == "é"
"""

STATEMENTS = [
    "{% for x in l %}{{ x }}{% if not loop.last %},{% endif %}{% endfor %}",
    "{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.depth }}{{ loop.cycle('a','b') }}{{ loop.changed(x) }};{% endfor %}",
    "{% for x in l if x > 1 %}{{ loop.index }}/{{ loop.length }}:{{ x }} {% else %}none{% endfor %}",
    "{% for x in e %}x{% else %}empty{% endfor %}", "{% for x in l if x > 9 %}x{% else %}empty{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "{% for k in d %}{{ k }}{% endfor %}",
    "{% for k, v in d|items %}{{ k }}{% endfor %}", "{% for c in s %}{{ c }}.{% endfor %}",
    "{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}", "{% for a, b in [1] %}{% endfor %}",
    "{% for a, b in [(1, 2, 3)] %}{% endfor %}", "{% for x in 5 %}{% endfor %}", "{% for x in none %}{% endfor %}",
    "{% for x in nosuch %}{% else %}e{% endfor %}", "{% for x in 1, 2 %}{{ x }}{% endfor %}",
    "{% for x in range(10) %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 5 %}{% break %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in l %}{% break %}{% else %}no{% endfor %}", "{% break %}", "{% if true %}{% continue %}{% endif %}",
    "{% for x in l %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}",
    "{% for x in l %}{% set y = x %}{% endfor %}{{ y }}", "{% set y = 0 %}{% for x in l %}{% set y = y + x %}{{ y }}{% endfor %}{{ y }}",
    "{% set ns = namespace(y=0) %}{% for x in l %}{% set ns.y = ns.y + x %}{% endfor %}{{ ns.y }}",
    "{% set ns.y = 1 %}", "{% set d.y = 1 %}", "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set a = 1, 2 %}{{ a }}", "{% set a, b = 1 %}",
    "{% set x %}block {{ 1 + 1 }}{% endset %}{{ x }}|{{ x|length }}", "{% set x | upper | trim %}  abc {% endset %}{{ x }}|",
    "{% set ns = namespace(a=1) %}{% set ns.b %}cap{% endset %}{{ ns.a }}{{ ns.b }}", "{% set ns = namespace() %}{% set ns.a, ns.b = 1, 2 %}{{ ns.a + ns.b }}",
    "{% if l %}a{% elif e %}b{% else %}c{% endif %}", "{% if e %}a{% elif n %}b{% else %}c{% endif %}", "{% if e %}a{% elif t %}b{% endif %}", "{% if 0.0 %}a{% else %}z{% endif %}",
    "{% if a if b else c %}{% endif %}", "{% if true %}", "{% endif %}", "{% nosuch %}", "{% if %}x{% endif %}", "{{ }}", "{% for %}{% endfor %}", "{{ 1 }", "{% if true }}x{% endif %}", "{# open", "{% raw %}x",
    "{% macro m(a, b=2, c='x' ~ a) %}[{{ a }},{{ b }},{{ c }}]{% endmacro %}{{ m(1) }}{{ m(1, 3) }}{{ m(a=5, c=0) }}{{ m() }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(b=2) }}", "{% macro m(a=1, b) %}{% endmacro %}",
    "{% macro m(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, 3, x=4) }}", "{% macro m() %}{{ caller() }}!{% endmacro %}{% call m() %}body{% endcall %}",
    "{% macro m() %}{{ caller(1, 2) }}{% endmacro %}{% call(a, b) m() %}{{ a }}-{{ b }}{% endcall %}", "{% macro m() %}x{% endmacro %}{% call m() %}b{% endcall %}", "{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}",
    "{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) }}", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{% macro m() %}{{ x }}{% endmacro %}{% set x = 1 %}{{ m() }}", "{% set x = 1 %}{% macro m() %}{% set x = 2 %}{{ x }}{% endmacro %}{{ m() }}{{ x }}",
    "{% macro m(x) %}{% for i in range(x) %}{{ i }}{% endfor %}{% endmacro %}{{ m(3) }}{{ m.name }}{{ m.arguments }}{{ m }}",
    "{% for i in l %}{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% endfor %}", "{% macro a() %}A{{ b() }}{% endmacro %}{% macro b() %}B{% endmacro %}{{ a() }}",
    "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a }}", "{% set a = 5 %}{% with a = 1, b = a %}{{ a }}{{ b }}{% endwith %}{{ a }}", "{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q }}",
    "{% filter upper %}abc {{ s }}{% endfilter %}", "{% filter replace('a', 'b') | upper %}aaa{% endfilter %}", "{% filter nosuch %}x{% endfilter %}",
    "{% raw %}{{ x }}{% if %}{% endraw %}!", "{%- raw -%} a {%- endraw -%} b", "x\n  {% raw %}\n y\n  {% endraw %}\nz", "{# comment #}a{#- c -#} b {#+ d +#} c", "a\n  {# c #}\nb",
    "a\n{% if true %}\n  b\n{% endif %}\nc\n", "a\n  {%- if true -%}\n  b\n  {%- endif -%}\n c", "a\n  {%+ if true +%}\n b {%+ endif %}\nc", "  {% if true %} x {% endif %} \n y", "{{ 1 }}\n{{ 2 }}\n", "x  {{- 1 -}}  y", "a {%- set x = 1 -%} b",
    "{% if true %}\n\n\nx{% endif %}\n\n", "\n\n{{ 1 }}\n\n", "a\r\nb\r{{ 'x\r\ny' }}\n", "\t {% set x = 1 %}\n\t {{ x }}", "{{ '%}' }}{{ \"}}\" }}{% if '%}' %}y{% endif %}", "{{ {'a': {'b': 1}} }}", "{{ {'a': {'b': 1}}.a.b}}", "{{{'a':1}}}", "{% set x = {} %}{{ x}}",
    "{% for m in users recursive %}{{ m.name }}{% if m.kids %}({{ loop(m.kids) }}){% endif %}{{ loop.depth }}{% endfor %}",
    "{% for i in [[1, [2, 3]], 4] recursive %}{% if i is iterable %}({{ loop(i) }}){% else %}{{ i }}@{{ loop.depth0 }}{% endif %}{% endfor %}", "{% for i in l %}{{ loop(l) }}{% endfor %}",
    "{% for i in l %}{% for j in l %}{{ loop.index }}{% endfor %}{{ loop.index }};{% endfor %}", "{% for i in l %}{% set o = loop %}{% for j in [1] %}{{ o.index }}{% endfor %}{% endfor %}", "{{ loop }}", "{{ loop.index }}",
    "{% set ns = namespace(f=false) %}{% for x in [1, 2, 3, 4] if not ns.f %}{{ x }}{% if x == 2 %}{% set ns.f = true %}{% endif %}{% endfor %}",
    "{% generation %}abc {% set z = 1 %}{{ z }}{% endgeneration %}{{ z }}", "{% for m in l %}{% generation %}{{ m }}{% endgeneration %}\n{% endfor %}", "{% print 1, 'a' %}",
    "{% set j = joiner(', ') %}{% for x in l %}{{ j() }}{{ x }}{% endfor %}", "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.reset() }}{{ c.current }}",
    "{% set g = l | map('string') %}{{ g | list }}{{ g | list }}", "{% set g = l | select %}{{ g is iterable }}{{ g is sequence }}{{ (g | first) }}", "{{ l | map('string') | length }}", "{{ l | reverse | first }}{{ (l | map('string'))[0] is defined }}",
    "{% if x is defined %}{{ x }}{% else %}{% set x = 1 %}{{ x }}{% endif %}{{ x }}", "{% if false %}{% set s = 1 %}{% endif %}{{ s }}", "{% for i in l %}{% if false %}{% set s = 1 %}{% endif %}{{ s }}{% endfor %}",
    "{% for i in [1] %}{{ s }}{% set s = 2 %}{{ s }}{% endfor %}{{ s }}", "{% set s = s ~ '!' %}{{ s }}", "{% for i in [1, 2] %}{% set s = s ~ '!' %}{{ s }}{% endfor %}",
    "{% for x in l %}{% continue %}{% else %}no{% endfor %}", "{% for x in l %}{% if x == 1 %}{% break %}{% endif %}{% else %}no{% endfor %}",
    "{% macro m() %}{{ s }}{% endmacro %}{{ m() }}", "{% macro m(s) %}{{ s }}{% endmacro %}{{ m('x') }}{{ s }}", "{% set range = 5 %}{{ range }}", "{% set x = namespace(a=[1]) %}{% set x.a = x.a + [2] %}{{ x.a }}", "{{ namespace }}" if False else "{{ namespace is callable }}",
    "{% if 'x' is nosuch %}{% endif %}", "{% if false %}{{ 'x' | nosuch }}{% endif %}ok", "{% for i in e %}{{ 'x' | nosuch }}{% endfor %}", "{% if true %}{% for i in e %}{{ 'x' | nosuch }}{% endfor %}{% endif %}",
    "{% set true = 1 %}", "{% for loop in l %}{{ loop }}{% endfor %}" if False else "{{ 'a' if t }}{{ 'b' if not t }}", "{% do l.append(1) %}", "{% set l2 = l + [4] %}{{ l2 }}{{ l }}",
    "{% set x = l | length %}{% set y %}{{ x }}{% endset %}{{ y + 'z' }}", "{% set a = 'x' %}{% set b = a * 2 %}{{ [a, b] | join }}", "{%set x=1%}{{x}}{%if x==1%}y{%endif%}", "{% set x = (1,\n 2) %}{{ x }}\n{{ nosuch.y }}",
    "{{ 'a\\\nb' }}", "{{ 'tab\\tnl\\n' }}", "line1\n{{ raise_exception('multi\nline') }}", "{{ l[0] if l else 'none' }}", "{{- '\\n' -}}  x", "{% if not (t and not f) or n is none %}ok{% endif %}", "{% if t is true and f is float and n is none and e == [] %}ok{% endif %}",
    "{% set p = {'type': 'object', 'properties': {'a': {'type': 'string'}}} %}{% for k, v in p.properties.items() %}{{ k }}: {{ v.type }}{% endfor %}", "{% set x = d.C | map('string') | join(' | ') %}{{ x }}", "{% set x = dict(d, z=1) %}{{ x }}{{ x.z }}",
    "{% for x in l | sort %}{{ x }}{% endfor %}{% for x in (l | sort)[1:] %}{{ x }}{% endfor %}", "{% for x in d.C %}{{ x }} {{ x is none }} {% endfor %}", "{% for g in users | groupby('name') %}{{ g.grouper }}:{{ g.list | length }} {% endfor %}", "{% for a, b in [('x', 1)] %}{% for c in [a] %}{{ c }}{{ b }}{{ loop.first }}{% endfor %}{% endfor %}",
    "{% set x = 1 %}{% set x = x + 1 %}{% if x == 2 %}{% set x = 3 %}{% endif %}{{ x }}", "{% extends 'x' %}", "{% include 'x' %}", "{% import 'x' as y %}", "{% macro m(a, a) %}{% endmacro %}", "{% call 5 %}{% endcall %}", "{% set a.b.c = 1 %}", "{% for a.b in l %}{% endfor %}",
    "{% macro m(x='é') %}{{ x }}{% endmacro %}{{ m() }}{{ m(x=none) }}{{ m(nosuch) }}", "{% macro outer() %}{% macro inner() %}I{% endmacro %}{{ inner() }}{% endmacro %}{{ outer() }}{{ inner is defined }}", "{{ caller is defined }}{{ varargs is defined }}", "{% set f = d.get %}{{ f('a') }}{{ s.upper() }}{% set u = s.upper %}{{ u() }}",
]

SNIPPETS = [("{{ " + line + " }}", D) for line in EXPRESSIONS.strip().split("\n")] + [(source, D) for source in STATEMENTS]
