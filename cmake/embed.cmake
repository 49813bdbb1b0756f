# SPDX-License-Identifier: Apache-2.0
# cmake -DOUT=FILE.cc -DFILES="A;B" -DNAME=X -P embed.cmake: writes the files' bytes as the array deepshock::X of
# EmbeddedFile (src/serve/embedded_file.h), named without their folders.
set(text "// Made by cmake/embed.cmake.\n#include \"serve/embedded_file.h\"\n\nnamespace deepshock {\nnamespace {\n")
set(entries "")
set(index 0)
foreach(file IN LISTS FILES)
  file(READ ${file} hex HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
  string(APPEND text "const unsigned char kFile${index}[] = {${bytes}};\n")
  get_filename_component(name ${file} NAME)
  string(APPEND entries "    {\"${name}\", {reinterpret_cast<const char*>(kFile${index}), sizeof(kFile${index})}},\n")
  math(EXPR index "${index} + 1")
endforeach()
string(APPEND text "const EmbeddedFile kAll[] = {\n${entries}};\n}  // namespace\n\n"
  "std::span<const EmbeddedFile> ${NAME}() { return kAll; }\n\n}  // namespace deepshock\n")
file(WRITE ${OUT} "${text}")
