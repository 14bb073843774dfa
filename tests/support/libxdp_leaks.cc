// libxdp 1.3.1 keeps 80 bytes of each UMEM whose device net_af_xdp has closed: xsk_umem__delete refuses, and
// the driver does not ask. LeakSanitizer reads this by name; elsewhere it is not called.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() { return "leak:xsk_umem__create\n"; }
