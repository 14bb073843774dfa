// libconfig 1.5 forgets the text that it has just read when a syntax error follows: some bytes for each
// refused file, inside the library, out of our reach. Everything else that leaks still fails a sanitized run;
// so does a libconfig::Config that nobody destroys, whose settings are allocated elsewhere.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() { return "leak:strbuf_append\nleak:libconfig_yylex\n"; }
