<?xml version="1.0" encoding="UTF-8"?>
<!-- Beispielberg's tax procedure books by a Buchungszeichen with the municipality's prefix. Everything else is as in the mapping. -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform" xmlns="urn:datendrehscheibe:hundesteuer:1"
                xmlns:e="urn:datendrehscheibe:envelope:1" exclude-result-prefixes="e">
  <xsl:import href="mapping:fachverfahren.xsl"/>

  <xsl:param name="buchungszeichen-prefix" select="'BBG-HST'"/>

  <xsl:template name="kassenzeichen">
    <xsl:variable name="message" select="/e:envelope/e:metadata/e:message"/>
    <Buchungszeichen>
      <xsl:value-of select="concat($buchungszeichen-prefix, '-', substring($message/@day, 1, 4), '-',
                                   substring($message/@id, string-length($message/@id) - 7))"/>
    </Buchungszeichen>
    <xsl:apply-templates select="$fields/*/instance/kassenzeichen"/>
  </xsl:template>
</xsl:stylesheet>
