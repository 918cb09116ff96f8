# The fuzzers (tests/fuzz): the library and the targets compiled once more, by clang, with libFuzzer and the sanitizers. `ctest`
# runs them over their seeds (label fault) and some mutations of them (label slow).
#
#   build/fuzz/fuzz_volume build/fuzz/found build/fuzz/seeds     fuzz on, for as long as you like; fuzz_stream and seeds_stream,
#                                                                fuzz_types and seeds_types likewise
find_program(SPM_CLANG clang)
set(fuzz_folder ${PROJECT_BINARY_DIR}/fuzz)
set(fuzz_flags -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined)

if(SPM_CLANG AND NOT DEFINED SPM_HAS_LIBFUZZER)
  file(WRITE ${fuzz_folder}/probe.c "int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return d && n > 9; }\n")
  execute_process(COMMAND ${SPM_CLANG} ${fuzz_flags} ${fuzz_folder}/probe.c -o ${fuzz_folder}/probe
                  RESULT_VARIABLE result OUTPUT_QUIET ERROR_QUIET)
  if(result EQUAL 0)
    set(SPM_HAS_LIBFUZZER TRUE CACHE INTERNAL "")
  else()
    set(SPM_HAS_LIBFUZZER FALSE CACHE INTERNAL "")
  endif()
endif()
if(NOT SPM_HAS_LIBFUZZER)
  message(STATUS "No clang with libFuzzer: the fuzzer is not built")
  return()
endif()

set(fuzz_objects)
set(fuzz_targets fuzz_volume fuzz_stream fuzz_types)
# The tool's own: with a version that is played (fuzz_browse.c), in place of containers/look.c.
set(fuzz_tool)
if(JSON_FOUND)
  list(APPEND fuzz_targets fuzz_browse)
  file(GLOB fuzz_tool CONFIGURE_DEPENDS ds/*.c)
  foreach(name place value path walk naming climb text)
    list(APPEND fuzz_tool apps/softpm/${name}.c)
  endforeach()
endif()
set(fuzz_tool_objects)
list(TRANSFORM fuzz_targets REPLACE ".+" "tests/fuzz/\\0.c" OUTPUT_VARIABLE fuzz_sources)
foreach(source ${SPM_SOURCES} ${SPM_TEST_SUPPORT} tests/fuzz/packed.c ${fuzz_sources} ${fuzz_tool})
  cmake_path(ABSOLUTE_PATH source BASE_DIRECTORY ${PROJECT_SOURCE_DIR})
  cmake_path(RELATIVE_PATH source BASE_DIRECTORY ${PROJECT_SOURCE_DIR} OUTPUT_VARIABLE name)
  string(REPLACE "/" "_" name ${name})
  set(object ${fuzz_folder}/${name}.o)
  add_custom_command(
    OUTPUT ${object}
    COMMAND ${SPM_CLANG} -std=gnu17 -O1 -g ${fuzz_flags} -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion
            -D_GNU_SOURCE "-DSOFTPM_VERSION=\"${PROJECT_VERSION}\"" "-DTEST_SOURCE=\"${PROJECT_SOURCE_DIR}\"" -DSPM_DEBUG
            -I${PROJECT_SOURCE_DIR}/lib -I${PROJECT_SOURCE_DIR}/containers -I${PROJECT_SOURCE_DIR}/tests/support
            -I${PROJECT_SOURCE_DIR}/ds/include
            -MD -MF ${object}.d -c ${source} -o ${object}
    DEPENDS ${source} DEPFILE ${object}.d VERBATIM)
  if(name MATCHES "^(apps|ds)_")
    list(APPEND fuzz_tool_objects ${object})
  elseif(NOT name MATCHES "tests_fuzz_fuzz_")
    list(APPEND fuzz_objects ${object})
  endif()
endforeach()
foreach(target ${fuzz_targets})
  set(objects ${fuzz_objects} ${fuzz_folder}/tests_fuzz_${target}.c.o)
  if(target STREQUAL fuzz_browse)
    list(FILTER objects EXCLUDE REGEX "containers_look\\.c\\.o$|tests_support_")
    list(APPEND objects ${fuzz_tool_objects})
  endif()
  add_custom_command(
    OUTPUT ${fuzz_folder}/${target}
    COMMAND ${SPM_CLANG} ${fuzz_flags} ${objects} -o ${fuzz_folder}/${target} ${XXHASH_LINK_LIBRARIES}
            ${DW_LINK_LIBRARIES} ${ELF_LINK_LIBRARIES} ${ZSTD_LINK_LIBRARIES} ${JSON_LINK_LIBRARIES} -lpthread -lm
    DEPENDS ${objects} VERBATIM)
  add_custom_target(${target} ALL DEPENDS ${fuzz_folder}/${target})
endforeach()

add_executable(fuzz_seeds tests/fuzz/fuzz_seeds.c tests/fuzz/packed.c $<TARGET_OBJECTS:test_support>)
target_include_directories(fuzz_seeds PRIVATE tests/support ds/include)
target_sources(fuzz_seeds PRIVATE $<TARGET_OBJECTS:softpm_ds_objects>)
target_compile_options(fuzz_seeds PRIVATE -g) # it reads its own types
target_compile_definitions(fuzz_seeds PRIVATE TEST_SOURCE="${PROJECT_SOURCE_DIR}")
target_link_libraries(fuzz_seeds PRIVATE softpm_objects PkgConfig::XXHASH ${CMAKE_DL_LIBS} m)

file(MAKE_DIRECTORY ${fuzz_folder}/seeds ${fuzz_folder}/seeds_stream ${fuzz_folder}/seeds_types
     ${fuzz_folder}/seeds_browse)
add_test(NAME fault/fuzz_seeds COMMAND fuzz_seeds ${fuzz_folder}/seeds ${fuzz_folder}/seeds_stream ${fuzz_folder}/seeds_types
                                       ${fuzz_folder}/seeds_browse)
set_tests_properties(fault/fuzz_seeds PROPERTIES LABELS fault FIXTURES_SETUP fuzz_seeds ENVIRONMENT
                                                 "${SPM_TEST_ENVIRONMENT}")
add_test(NAME fault/fuzz_replay COMMAND ${fuzz_folder}/fuzz_volume -runs=0 ${fuzz_folder}/seeds)
add_test(NAME fault/fuzz_stream_replay COMMAND ${fuzz_folder}/fuzz_stream -runs=0 ${fuzz_folder}/seeds_stream)
add_test(NAME fault/fuzz_types_replay COMMAND ${fuzz_folder}/fuzz_types -runs=0 ${fuzz_folder}/seeds_types)
add_test(NAME fault/fuzz_types COMMAND ${fuzz_folder}/fuzz_types -runs=100000 -seed=1 -max_len=4000 -timeout=20
                                       ${fuzz_folder}/seeds_types)
add_test(NAME slow/fuzz_volume COMMAND ${fuzz_folder}/fuzz_volume -runs=2000 -seed=1 -max_len=1000000 -timeout=60
                                       -rss_limit_mb=4096
                                       ${fuzz_folder}/seeds)
add_test(NAME slow/fuzz_stream COMMAND ${fuzz_folder}/fuzz_stream -runs=5000 -seed=1 -max_len=200000 -timeout=60
                                       ${fuzz_folder}/seeds_stream)
set_tests_properties(fault/fuzz_replay fault/fuzz_stream_replay fault/fuzz_types_replay fault/fuzz_types PROPERTIES LABELS fault)
set_tests_properties(slow/fuzz_volume slow/fuzz_stream PROPERTIES LABELS slow)
set_tests_properties(fault/fuzz_replay fault/fuzz_stream_replay fault/fuzz_types_replay fault/fuzz_types slow/fuzz_volume
                     slow/fuzz_stream
                     PROPERTIES TIMEOUT 600 FIXTURES_REQUIRED fuzz_seeds ENVIRONMENT "${SPM_TEST_ENVIRONMENT}")
if(JSON_FOUND)
  add_test(NAME fault/fuzz_browse COMMAND ${fuzz_folder}/fuzz_browse -runs=2000 -seed=1 -max_len=300000 -timeout=60
                                          ${fuzz_folder}/seeds_browse)
  set_tests_properties(fault/fuzz_browse PROPERTIES LABELS fault TIMEOUT 600 FIXTURES_REQUIRED fuzz_seeds ENVIRONMENT
                                                    "${SPM_TEST_ENVIRONMENT}")
endif()
