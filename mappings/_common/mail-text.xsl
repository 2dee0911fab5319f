<?xml version="1.0" encoding="UTF-8"?>
<!-- The application as the plain text of a mail: one line for each field, groups under an underlined heading. -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform"
                xmlns:e="urn:datendrehscheibe:envelope:1">
  <xsl:import href="eingang.xsl"/>
  <xsl:output method="text" encoding="UTF-8"/>

  <xsl:variable name="strich" select="'----------------------------------------------------------------------'"/>

  <xsl:template match="/">
    <xsl:call-template name="briefkopf"/>
    <xsl:call-template name="ueberschrift"><xsl:with-param name="text" select="$subject"/></xsl:call-template>
    <xsl:if test="$message/@test = 'true'">*** Testnachricht – bitte nicht bearbeiten ***&#10;&#10;</xsl:if>
    <xsl:call-template name="vortext"/>
    <xsl:call-template name="kopf"/>
    <xsl:apply-templates select="/e:envelope/e:fields/*/instance[*[normalize-space(@e:text)]]" mode="gruppe"/>
    <xsl:apply-templates select="/e:envelope/e:payload" mode="xoev"/>
    <xsl:text>&#10;-- &#10;</xsl:text>
    <xsl:call-template name="fusszeile"/>
    <xsl:text>Automatisch übermittelt durch die Datendrehscheibe.&#10;Nachrichtennummer: </xsl:text>
    <xsl:value-of select="$message-id"/>
    <xsl:text>&#10;</xsl:text>
  </xsl:template>

  <xsl:template match="instance" mode="gruppe">
    <xsl:variable name="titel"><xsl:call-template name="titel"/></xsl:variable>
    <xsl:text>&#10;</xsl:text>
    <xsl:call-template name="ueberschrift"><xsl:with-param name="text" select="$titel"/></xsl:call-template>
    <xsl:apply-templates select="*[normalize-space(@e:text)]" mode="feld"/>
  </xsl:template>

  <xsl:template match="*" mode="feld">
    <xsl:value-of select="concat(@e:label, ': ')"/>
    <xsl:call-template name="zeilen">
      <xsl:with-param name="text" select="string((@e:shown | @e:text[not(../@e:shown)])[1])"/>
    </xsl:call-template>
    <xsl:text>&#10;</xsl:text>
  </xsl:template>

  <!-- Further lines of a value stand below its first, so that nobody takes them for fields. -->
  <xsl:template name="umbruch"><xsl:text>&#10;    </xsl:text></xsl:template>

  <xsl:template match="e:payload" mode="xoev">
    <xsl:text>&#10;</xsl:text>
    <xsl:call-template name="ueberschrift">
      <xsl:with-param name="text" select="concat('Inhalt der Nachricht ', local-name(*))"/>
    </xsl:call-template>
    <xsl:for-each select=".//*[not(*)][normalize-space()]">
      <xsl:value-of select="concat(local-name(..), ' › ', local-name(), ': ')"/>
      <xsl:call-template name="zeilen"><xsl:with-param name="text" select="string(.)"/></xsl:call-template>
      <xsl:text>&#10;</xsl:text>
    </xsl:for-each>
  </xsl:template>

  <xsl:template name="ueberschrift">
    <xsl:param name="text"/>
    <xsl:value-of select="concat($text, '&#10;', substring($strich, 1, string-length($text)), '&#10;')"/>
  </xsl:template>
</xsl:stylesheet>
